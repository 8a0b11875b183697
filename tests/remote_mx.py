"""A scripted SMTP server on loopback that remembers every octet it got. Speaks the protocol, patches nothing.

    with RemoteMx() as mx:
        mx.say("RCPT", "550 5.1.1 no such user", "250 ok")   # first RCPT refused, the others taken
        ...
        assert mx.messages[0].recipients == ["b@example.test"]

What it says to a stage ("banner", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "dot", "RSET", "NOOP",
"QUIT") is a list of actions used one after the other, the last one for ever: a line (or several) of reply, Drop,
Silence, Hold, Raw. Each connection runs in a thread of its own.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import trustme

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")


@dataclass(frozen=True)
class Drop:
    """Say `text` (nothing, when empty), then close; `hard`: with a TCP reset."""

    text: str = ""
    hard: bool = False


@dataclass(frozen=True)
class Silence:
    """Say nothing any more, and keep the connection."""


@dataclass(frozen=True)
class Hold:
    """Set `reached`, wait until `released` is set, then do `then`."""

    released: threading.Event
    then: Action = "250 ok"
    reached: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Raw:
    """These octets, as they are."""

    octets: bytes


@dataclass(frozen=True)
class Slow:
    """Wait, then do `then`; for load, not for logic."""

    seconds: float
    then: Action = "250 ok"


Action = str | Drop | Silence | Hold | Raw | Slow

USUAL: dict[str, Action] = {
    "banner": "220 mx.test ESMTP",
    "HELO": "250 mx.test",
    "STARTTLS": "220 2.0.0 go ahead",
    "MAIL": "250 2.1.0 sender ok",
    "RCPT": "250 2.1.5 recipient ok",
    "DATA": "354 go ahead",
    "dot": "250 2.0.0 queued",
    "RSET": "250 2.0.0 reset",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
    "AUTH": "235 2.7.0 welcome",
}


@dataclass
class Received:
    """One message: `raw` is what came after DATA up to and with the final dot, `octets` the message in it."""

    mail: str
    rcpt: list[str]
    raw: bytes
    connection: int
    is_tls: bool

    @property
    def sender(self) -> str:
        return _path(self.mail)

    @property
    def recipients(self) -> list[str]:
        return [_path(line) for line in self.rcpt]

    @property
    def octets(self) -> bytes:
        return re.sub(rb"(?m)^\.", b"", self.raw.removesuffix(b".\r\n"))


class RemoteMx:
    """The server; `port` and `ip` say where. `tls`: a context for STARTTLS, which is then announced."""

    def __init__(
        self,
        *,
        ip: str = "127.0.0.1",
        port: int = 0,
        extensions: Sequence[str] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        is_implicit: bool = False,
        name: str = "mx.test",
    ) -> None:
        self.ip, self.name, self.extensions, self.tls = ip, name, tuple(extensions), tls
        self.is_implicit = is_implicit
        self.messages: list[Received] = []
        self.commands: list[str] = []
        self.groups: list[bytes] = []
        self.connections = 0
        self.live = 0
        self.most_live = 0
        self.judge_recipient: Callable[[str], Action | None] = lambda _address: None
        self._script: dict[str, list[Action]] = {}
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server((ip, port), backlog=512, family=_family(ip))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> RemoteMx:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def say(self, stage: str, *actions: Action) -> None:
        """From now on: these actions for this stage, one after the other, the last one for ever."""
        with self._changed:
            self._script[stage] = list(actions)

    def wait_for(self, messages: int, seconds: float = 10) -> list[Received]:
        """All messages, as soon as there are that many. Raises TimeoutError."""
        self.wait_until(lambda: len(self.messages) >= messages, seconds)
        return self.messages

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait for something about this server to become true. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(f"{len(self.messages)} messages, {self.connections} connections")

    def drop_connections(self) -> None:
        """Close every open connection, as a host that restarts does."""
        with self._changed:
            for sock in list(self._sockets):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.wait_until(lambda: self.live == 0)

    def close(self) -> None:
        """Stop listening and close all."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        self.drop_connections()

    def _next(self, stage: str, usual: str = "") -> Action:
        with self._changed:
            actions = self._script.get(stage)
            if not actions:
                return usual or (USUAL[stage] if stage != "EHLO" else self._ehlo())
            return actions.pop(0) if len(actions) > 1 else actions[0]

    def _ehlo(self) -> str:
        lines = [self.name, *self.extensions]
        if self.tls is not None and not self.is_implicit:
            lines.append("STARTTLS")
        return "\r\n".join(f"250{'-' if line is not lines[-1] else ' '}{line}" for line in lines)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self.live += 1
                self.most_live = max(self.most_live, self.live)
                self._sockets.add(sock)
                number = self.connections
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        conversation = _Conversation(self, sock, number)
        try:
            conversation.run()
        except (OSError, EOFError):
            pass  # the client went away, or the script said so
        finally:
            conversation.sock.close()
            with self._changed:
                self._sockets -= {sock, conversation.sock}
                self.live -= 1
                self._changed.notify_all()

    def _replace(self, old: socket.socket, new: socket.socket) -> None:
        self._sockets.discard(old)
        self._sockets.add(new)

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


class _Conversation:
    def __init__(self, mx: RemoteMx, sock: socket.socket, number: int) -> None:
        self.mx, self.sock, self.number = mx, sock, number
        self.sock.settimeout(20)
        self.buffer = b""
        self.is_tls = False
        self.mail = ""
        self.rcpt: list[str] = []

    def run(self) -> None:
        if self.mx.is_implicit:
            self._secure()
        self._act("banner")
        while True:
            line = self._line()
            self.mx._note(lambda line=line: self.mx.commands.append(line))  # type: ignore[misc]  # bound at once
            verb = line.partition(" ")[0].upper()
            argument = line[len(verb) + 1 :]
            if verb not in USUAL and verb != "EHLO":
                self._send("500 5.5.2 unknown command")
                continue
            getattr(self, f"_{verb.lower()}", self._plain)(verb, argument)
            if verb == "QUIT":
                return

    def _plain(self, verb: str, argument: str) -> None:
        self._act(verb)

    def _starttls(self, verb: str, argument: str) -> None:
        if self._act(verb).startswith("220"):
            self._secure()

    def _auth(self, verb: str, argument: str) -> None:
        said = self._act(verb)
        while said.startswith("334"):
            line = self._line()
            self.mx._note(lambda line=line: self.mx.commands.append(line))  # type: ignore[misc]  # bound at once
            said = self._act(verb)

    def _mail(self, verb: str, argument: str) -> None:
        said = self._act(verb)
        self.mail, self.rcpt = (argument, []) if said.startswith("2") else ("", [])

    def _rcpt(self, verb: str, argument: str) -> None:
        special = self.mx.judge_recipient(_path(argument))
        said = self._do(special) if special is not None else self._act(verb, "" if self.mail else "503 5.5.1 no MAIL")
        if said.startswith("2"):
            self.rcpt.append(argument)

    def _rset(self, verb: str, argument: str) -> None:
        self.mail, self.rcpt = "", []
        self._act(verb)

    def _data(self, verb: str, argument: str) -> None:
        if not self._act(verb, "" if self.rcpt else "554 5.5.1 no valid recipients").startswith("354"):
            return
        while not (self.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self.buffer):
            self._fill()
        end = 3 if self.buffer.startswith(b".\r\n") else self.buffer.index(b"\r\n.\r\n") + 5
        raw, self.buffer = self.buffer[:end], self.buffer[end:]
        message = Received(self.mail, list(self.rcpt), raw, self.number, self.is_tls)
        self.mx._note(lambda: self.mx.messages.append(message))
        self.mail, self.rcpt = "", []
        self._act("dot")

    def _act(self, stage: str, usual: str = "") -> str:
        return self._do(self.mx._next(stage, usual))

    def _do(self, action: Action) -> str:
        if isinstance(action, str):
            self._send(action)
            return action
        if isinstance(action, Drop):
            if action.text:
                self._send(action.text)
            if action.hard:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise EOFError
        if isinstance(action, Hold):
            action.reached.set()
            if not action.released.wait(20):
                raise EOFError
            return self._do(action.then)
        if isinstance(action, Slow):
            time.sleep(action.seconds)
            return self._do(action.then)
        if isinstance(action, Raw):
            self.sock.sendall(action.octets)
            return action.octets.decode("latin-1")
        while True:  # Silence
            self._fill()

    def _send(self, text: str) -> None:
        self.sock.sendall(text.encode("utf-8") + b"\r\n")

    def _secure(self) -> None:
        if self.mx.tls is None:
            raise EOFError  # announced by the script, and not to be had
        clear = self.sock
        # The handshake comes second: while it runs, drop_connections() must know this socket.
        self.sock = self.mx.tls.wrap_socket(clear, server_side=True, do_handshake_on_connect=False)
        self.mx._note(lambda: self.mx._replace(clear, self.sock))
        self.sock.do_handshake()
        self.buffer, self.is_tls = b"", True

    def _line(self) -> str:
        while b"\r\n" not in self.buffer:
            self._fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("utf-8", "surrogateescape")

    def _fill(self) -> None:
        octets = self.sock.recv(262144)
        if not octets:
            raise EOFError
        self.mx._note(lambda: self.mx.groups.append(octets))
        self.buffer += octets


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests; `file` is what a client must trust to believe it."""

    ca: trustme.CA
    file: str

    def server(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


def _path(argument: str) -> str:
    found = re.search(r"<(.*?)>(?: |$)", argument)
    return found[1] if found else argument


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET
