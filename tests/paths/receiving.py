"""Real receivers: smtp-sink with its faults, and a private Postfix that keeps mail in mailboxes.

Postfix starts as root only, needs a folder that its own users can reach, and keeps everything below it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import pytest
import trustme

from tests.paths.waiting import until

_MAIN = """compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.net
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.net
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {{ b@example.net = b/ }} }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
alias_maps =
alias_database =
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/chain.pem
smtpd_tls_received_header = yes
smtpd_forbid_bare_newline = yes
maillog_file = {folder}/spool/maillog
maillog_file_prefixes = /tmp, /var
disable_dns_lookups = yes
message_size_limit = 20480000
"""
_MASTER = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Sink:
    """smtp-sink with flags of its own on a port; keeps what it takes."""

    def __init__(self, port: int, *flags: str) -> None:
        program = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        # Not in the folder of a test: as user nobody it could not reach that.
        self._folder = Path(tempfile.mkdtemp(prefix="sendry-sink-"))
        self._folder.chmod(0o777)
        self._process = subprocess.Popen(
            [program, *user, *flags, "-d", f"{self._folder}/m.", f"127.0.0.1:{port}", "100"],
            stderr=subprocess.DEVNULL,
        )
        until(lambda: listens(port), "smtp-sink")

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)

    def recipients(self) -> list[str]:
        """Of every mail that was taken whole."""
        found = []
        for path in self._folder.glob("m.*"):
            text = path.read_text(errors="replace")
            found += [
                line.split("<")[1].split(">")[0] for line in text.splitlines() if line.startswith("X-Rcpt-Args: <")
            ]
        return found


class Postfix:
    """The MX of example.net: takes mail for b@example.net, refuses everybody else."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("Postfix starts as root only")
        self.folder = Path(tempfile.mkdtemp(prefix="sendry-postfix-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.port = free_port()
        for name in ("conf", "spool", "data", "mail"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        self.authority = trustme.CA()
        leaf = self.authority.issue_cert("mx.example.net")
        chain = leaf.private_key_pem.bytes() + b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        (self.folder / "chain.pem").write_bytes(chain)
        owner = (self.folder / "mail").stat()
        (self.folder / "conf" / "main.cf").write_text(
            _MAIN.format(folder=self.folder, uid=owner.st_uid, gid=owner.st_gid)
        )
        (self.folder / "conf" / "master.cf").write_text(_MASTER.format(port=self.port))

    def __enter__(self) -> Postfix:
        self._run("start")
        until(lambda: listens(self.port), f"Postfix; its log is {self.folder}/spool/maillog")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, what: str) -> None:
        command = ["postfix", "-c", str(self.folder / "conf"), what]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def mails(self) -> list[bytes]:
        """What is in the mailbox of b@example.net, oldest first, with CRLF as it came."""
        files = sorted((self.folder / "mail" / "b" / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in files]

    def wait_for(self, count: int) -> list[bytes]:
        """The mails as soon as there are so many."""
        until(lambda: len(self.mails()) >= count, f"{count} mails; the log is {self.folder}/spool/maillog")
        return self.mails()
