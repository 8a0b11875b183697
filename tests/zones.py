"""A scripted nameserver on loopback, UDP and TCP: any answer, SERVFAIL, silence, truncation, loops.

    with Zones() as zones:
        zones.mx("example.test", (10, "mx1.example.test"))
        zones.a("mx1.example.test", "127.0.0.1")
        resolver = Resolver((zones.address,))

A name without a record answers NOERROR without data if something is known at or below it, else NXDOMAIN.
`zones.asked` lists what was asked, in order, as (name, type, "udp" or "tcp").
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import StrEnum
from types import TracebackType

import dnslib


class Fault(StrEnum):
    """How a question is (not) answered."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    SILENCE = "silence"
    TRUNCATED = "truncated"  # over UDP only: the whole answer comes over TCP
    GARBAGE = "garbage"


class Zones:
    """The nameserver; `address` is (ip, port)."""

    def __init__(self, ip: str = "127.0.0.1") -> None:
        self._records: dict[tuple[str, str], list[dnslib.RR]] = {}
        self._faults: dict[tuple[str, str], Fault] = {}
        self._lock = threading.Lock()
        self.asked: list[tuple[str, str, str]] = []
        self.negative_ttl = 60
        self._udp, self._tcp = _pair_of_sockets(ip)
        self.address: tuple[str, int] = self._udp.getsockname()[:2]
        self._threads = [
            threading.Thread(target=self._serve_udp, daemon=True),
            threading.Thread(target=self._serve_tcp, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Zones:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop both threads and free the port."""
        for sock in (self._udp, self._tcp):
            with contextlib.suppress(OSError):  # not connected; what is wanted is that the thread wakes up
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def mx(self, name: str, *hosts: tuple[int, str], ttl: int = 300) -> None:
        """The MX records of a name: pairs of preference and host; "." is the null MX."""
        self.set(name, "MX", *(dnslib.MX(host, preference) for preference, host in hosts), ttl=ttl)

    def a(self, name: str, *addresses: str, ttl: int = 300) -> None:
        self.set(name, "A", *map(dnslib.A, addresses), ttl=ttl)

    def aaaa(self, name: str, *addresses: str, ttl: int = 300) -> None:
        self.set(name, "AAAA", *map(dnslib.AAAA, addresses), ttl=ttl)

    def cname(self, name: str, target: str, ttl: int = 300) -> None:
        self.set(name, "CNAME", dnslib.CNAME(target), ttl=ttl)

    def txt(self, name: str, *texts: str, ttl: int = 300) -> None:
        self.set(name, "TXT", *map(dnslib.TXT, texts), ttl=ttl)

    def set(self, name: str, kind: str, *values: dnslib.RD, ttl: int = 300) -> None:
        """Replace the records of one name and type; no values: the name exists, without data of this type."""
        with self._lock:
            code = getattr(dnslib.QTYPE, kind)
            self._records[_key(name, kind)] = [dnslib.RR(name, code, rdata=value, ttl=ttl) for value in values]
            self._faults.pop(_key(name, kind), None)

    def remove(self, name: str) -> None:
        """Forget all about a name."""
        with self._lock:
            for key in [key for key in {**self._records, **self._faults} if key[0] == _key(name, "")[0]]:
                self._records.pop(key, None)
                self._faults.pop(key, None)

    def fail(self, name: str, fault: Fault, *kinds: str) -> None:
        """Answer questions for this name (of these types, or of all) with a fault."""
        with self._lock:
            for kind in kinds or ("",):
                self._faults[_key(name, kind)] = fault

    def _answer(self, octets: bytes, transport: str) -> bytes | None:
        query = dnslib.DNSRecord.parse(octets)
        name, kind = _key(str(query.q.qname), str(dnslib.QTYPE[query.q.qtype]))
        with self._lock:
            self.asked.append((name, kind, transport))
            fault = self._faults.get((name, kind)) or self._faults.get((name, ""))
            reply = query.reply()
            reply.header.ra = 1
            if fault is Fault.SILENCE:
                return None
            if fault is Fault.GARBAGE:
                return octets[:2] + b"\xff" * 20
            if fault in (Fault.SERVFAIL, Fault.REFUSED):
                reply.header.rcode = dnslib.RCODE.SERVFAIL if fault is Fault.SERVFAIL else dnslib.RCODE.REFUSED
                return bytes(reply.pack())
            if fault is Fault.TRUNCATED and transport == "udp":
                reply.header.tc = 1
                return bytes(reply.pack())
            self._fill(reply, name, kind)
        return bytes(reply.pack())

    def _fill(self, reply: dnslib.DNSRecord, name: str, kind: str) -> None:
        found = False
        for _ in range(8):
            for record in self._records.get((name, kind), ()):
                reply.add_answer(record)
                found = True
            aliases = self._records.get((name, "CNAME"))
            if found or not aliases:
                break
            reply.add_answer(aliases[0])
            name = _key(str(aliases[0].rdata.label), "")[0]
        if found:
            return
        if not any(known == name or known.endswith("." + name) for known, _ in self._records):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        soa = dnslib.SOA("ns.test", "hostmaster.test", (1, 60, 60, 60, self.negative_ttl))
        reply.add_auth(dnslib.RR("test", dnslib.QTYPE.SOA, rdata=soa, ttl=self.negative_ttl))

    def _serve_udp(self) -> None:
        while True:
            try:
                octets, peer = self._udp.recvfrom(4096)
                if not octets:  # closed
                    return
                answer = self._answer(octets, "udp")
                if answer is not None:
                    self._udp.sendto(answer, peer)
            except OSError:
                return

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    (length,) = struct.unpack("!H", _exactly(connection, 2))
                    answer = self._answer(_exactly(connection, length), "tcp")
                    if answer is not None:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)
                except (OSError, EOFError):
                    continue


def _exactly(connection: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        block = connection.recv(count - len(octets))
        if not block:
            raise EOFError
        octets += block
    return octets


def _key(name: str, kind: str) -> tuple[str, str]:
    return name.rstrip(".").lower(), kind


def _pair_of_sockets(ip: str) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on one port."""
    for _ in range(50):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((ip, 0))
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        tcp.listen(64)
        return udp, tcp
    raise OSError("no port free for UDP and TCP alike")
