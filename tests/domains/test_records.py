"""The records to publish, as values and as lines of a zone file."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from dns.rdtypes.ANY.TXT import TXT

from sendry.domains.records import Record, to_publish
from sendry.mail.dkim import generate_rsa, load_key


def test_mx_spf_dkim_and_dmarc_in_this_order() -> None:
    key = load_key(generate_rsa(), "example.com", "s1")
    records = to_publish("example.com", "mail.example.com", [key])
    assert [(record.type, record.name) for record in records] == [
        ("MX", "example.com"),
        ("TXT", "example.com"),
        ("TXT", "s1._domainkey.example.com"),
        ("TXT", "_dmarc.example.com"),
    ]
    assert records[0].zone_line == "example.com. IN MX 10 mail.example.com."
    assert "a:mail.example.com" in records[1].value


@pytest.mark.parametrize("value", ["v=spf1 -all", "x" * 255, "x" * 256, "y" * 600, 'quo"te\\'])
def test_a_zone_line_reads_back_as_the_value(value: str) -> None:
    line = Record("TXT", "a.example", value).zone_line
    assert line.startswith("a.example. IN TXT ")
    read = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, line.partition(" TXT ")[2])
    assert isinstance(read, TXT)
    assert b"".join(read.strings).decode() == value
    assert all(len(piece) <= 255 for piece in read.strings)
