"""A tiny scripted SMTP client on a raw socket: it sends exactly what a test says, and cuts packets where told."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from types import TracebackType

SECONDS = 20.0  # no test waits this long unless it fails

_LAST_LINE = re.compile(rb"(?:\A|\n)[0-9]{3}(?: [^\n]*)?\r\n\Z")


class Client:
    """One connection. `greeting` is what the server said first."""

    def __init__(
        self, port: int, *, greeted: bool = True, source: str = "127.0.0.1", host: str = "127.0.0.1"
    ) -> None:
        self.socket: socket.socket = socket.create_connection((host, port), SECONDS, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.greeting = self.reply() if greeted else b""

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Send octets as one packet."""
        self.socket.sendall(octets)

    def reply(self) -> bytes:
        """One whole reply; what came before the end of the connection if it ends."""
        got = b""
        while not _LAST_LINE.search(got):
            octet = self.socket.recv(1)
            if not octet:
                break
            got += octet
        return got

    def ask(self, line: str | bytes) -> bytes:
        """Send a command and read its reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def hello(self) -> Client:
        """EHLO."""
        assert self.ask("EHLO client.example").startswith(b"250")
        return self

    def transaction(self, sender: str = "a@example.com", *recipients: str) -> Client:
        """MAIL, RCPT and DATA up to the 354."""
        assert self.ask(f"MAIL FROM:<{sender}>").startswith(b"250 2.1.0")
        for recipient in recipients or ("b@example.org",):
            assert self.ask(f"RCPT TO:<{recipient}>").startswith(b"250 2.1.5")
        assert self.ask("DATA").startswith(b"354")
        return self

    def start_tls(self) -> Client:
        """STARTTLS and the handshake."""
        assert self.ask("STARTTLS").startswith(b"220")
        return self.encrypt()

    def encrypt(self, name: str | None = None) -> Client:
        """The handshake alone; no certificate is checked."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        return self

    def is_closed(self) -> bool:
        """Whether the server ended the connection and says nothing more."""
        try:
            return self.socket.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        got = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while octets := self.socket.recv(65536):
                got += octets
        return got

    def half_close(self) -> None:
        """Tell the server that nothing more comes, and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)
