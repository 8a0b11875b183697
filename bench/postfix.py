"""A private Postfix as the peer to measure against (needs root and the package `postfix`).

Everything lives under one folder, which must be on the file system of the other server's queue so that both pay
the same sync, and be searchable by user `postfix`. It listens on 127.0.0.1 only, looks nothing up in DNS and hands
every message to 127.0.0.1:sink. A second port parks what it accepts in the hold queue: durable intake alone.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import time

MAIN = """compatibility_level = 3.6
queue_directory = {d}/spool
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
maillog_file = {d}/spool/maillog
maillog_file_prefixes = /tmp, /var
disable_dns_lookups = yes
smtp_tls_security_level = none
smtpd_tls_security_level = none
message_size_limit = 52428800
"""
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{hold} inet n - n - - smtpd
  -o {{ smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit_mynetworks, reject }}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def start(d: pathlib.Path, port: int, hold: int, sink: int, *, tuned: bool = False, preload: str = "") -> int:
    """Start the instance; returns the pid of its master process."""
    for sub in ("conf", "spool", "data"):
        (d / sub).mkdir(parents=True, exist_ok=True)
    shutil.chown(d / "data", "postfix")
    main = MAIN.format(d=d, sink=sink)
    if tuned:
        main += "in_flow_delay = 0\n"
    if preload:
        main += f"import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_PRELOAD={preload}\n"
    (d / "conf/main.cf").write_text(main)
    (d / "conf/master.cf").write_text(MASTER.format(port=port, hold=hold))
    subprocess.run(
        ["postfix", "-c", str(d / "conf"), "start"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(100):
        try:
            return int((d / "spool/pid/master.pid").read_text())
        except (OSError, ValueError):
            time.sleep(0.05)
    raise RuntimeError("postfix did not start: see " + str(d / "spool/maillog"))


def purge(d: pathlib.Path) -> None:
    """Drop everything in the hold queue (after a hold-port run)."""
    subprocess.run(
        ["postsuper", "-c", str(d / "conf"), "-d", "ALL", "hold"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop(d: pathlib.Path) -> None:
    subprocess.run(["postfix", "-c", str(d / "conf"), "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
