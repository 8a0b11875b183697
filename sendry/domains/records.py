"""The DNS records that a sending domain should publish. Pure: what is published now is another question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sendry.mail.dkim import SigningKey, dns_record

_LONGEST_STRING: Final = 255  # octets of one character-string, RFC 1035 section 3.3


@dataclass(frozen=True, slots=True)
class Record:
    """One DNS record to publish; `note` is for people."""

    type: str
    name: str
    value: str
    note: str = ""

    @property
    def zone_line(self) -> str:
        """The record as a line of a zone file; a long TXT is cut into the strings that DNS allows."""
        if self.type != "TXT":
            return f"{self.name}. IN {self.type} {self.value}"
        pieces = [self.value[start : start + _LONGEST_STRING] for start in range(0, len(self.value), _LONGEST_STRING)]
        quoted = " ".join('"{}"'.format(piece.replace("\\", "\\\\").replace('"', '\\"')) for piece in pieces)
        return f"{self.name}. IN TXT {quoted}"


def to_publish(domain: str, hostname: str, keys: Iterable[SigningKey] = ()) -> list[Record]:
    """What the world should find for mail of `domain` that `hostname` sends, signed with `keys`."""
    policy = f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"
    return [
        Record("MX", domain, f"10 {hostname}.", "only if no other server takes the mail of this domain"),
        Record("TXT", domain, f"v=spf1 a:{hostname} mx ~all", "SPF; if there is one, add a:… to it"),
        *(of_key(key) for key in keys),
        Record("TXT", f"_dmarc.{domain}", policy, "DMARC; p=quarantine when the reports look right"),
    ]


def of_key(key: SigningKey) -> Record:
    """The record of a DKIM key."""
    return Record("TXT", key.record_name, dns_record(key), "DKIM")
