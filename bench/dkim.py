"""DKIM signatures per second on one core: ours, dkimpy's and OpenSSL alone, in turn within one run.

Run: python -m bench.dkim [--seconds 1.0] [--rounds 3]. Each round measures every signer for the given time;
the best round of each counts, so that a noisy neighbour hits all alike. Before measuring, dkimpy verifies
what ours made.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import dkim as dkimpy

from sendry.mail import dkim

HEAD = (
    b"From: Sender <sender@example.com>\r\nTo: Recipient <recipient@example.org>\r\n"
    b"Subject: Your order 1234 has been shipped\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <20261122120000.1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
    b"List-Unsubscribe: <https://example.com/u/abc>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n"
)
LINE = b"An ordinary line of an ordinary mail, with words and a  double blank now and then.\r\n"
SIZES = {"2 KB": 2048, "50 KB": 50 * 1024, "1 MB": 1024 * 1024}
BLOCK = 256 * 1024


def rate(sign: Callable[[bytes], object], body: bytes, seconds: float) -> float:
    """Calls per second of CPU time, over at least `seconds` of it."""
    calls = 0
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        sign(body)
        calls += 1
    return calls / spent


def main() -> None:
    """Print one table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=1.0)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()

    pem = dkim.generate_rsa()
    rsa = dkim.load_key(pem, "example.com", "s1")
    ed25519 = dkim.load_key(dkim.generate_ed25519(), "example.com", "s2")
    rsa_key, ed25519_key = rsa.key, ed25519.key

    print(f"{'signer, relaxed/relaxed, one core':44}" + "".join(f"{name:>10}" for name in SIZES))
    signers: dict[str, Callable[[bytes], object]] = {
        "dkimpy, RSA-2048": lambda body: dkimpy.sign(
            HEAD + body, b"s1", b"example.com", pem, canonicalize=(b"relaxed", b"relaxed")
        ),
        "ours, RSA-2048": lambda body: dkim.sign(HEAD, body, rsa, now_ts=1),
        "ours, RSA-2048, body in blocks": lambda body: dkim.sign(HEAD, blocks(body), rsa, now_ts=1),
        "ours, Ed25519": lambda body: dkim.sign(HEAD, body, ed25519, now_ts=1),
        "ours, RSA-2048 and Ed25519": lambda body: dkim.sign(HEAD, body, [rsa, ed25519], now_ts=1),
        "OpenSSL alone, RSA-2048": lambda _: dkim.sign_octets(rsa_key, b"x" * 600),
        "OpenSSL alone, Ed25519": lambda _: dkim.sign_octets(ed25519_key, b"x" * 600),
    }
    check(rsa)
    rates: dict[str, list[float]] = {name: [0.0] * len(SIZES) for name in signers}
    for _ in range(chosen.rounds):
        for column, size in enumerate(SIZES.values()):
            body = (LINE * (size // len(LINE) + 1))[: size - 2] + b"\r\n"
            for name, sign in signers.items():
                measured = rate(sign, body, chosen.seconds)
                rates[name][column] = max(rates[name][column], measured)
    for name, row in rates.items():
        print(f"{name:44}" + "".join(f"{value:10.0f}" for value in row))
    own, theirs = rates["ours, RSA-2048"][0], rates["dkimpy, RSA-2048"][0]
    bare = rates["OpenSSL alone, RSA-2048"][0]
    print(f"RSA-2048 at 2 KB: {own / theirs:.1f} times dkimpy, {own / bare:.2f} of OpenSSL alone")


def blocks(body: bytes) -> list[bytes]:
    """The body as it comes out of a spool file."""
    return [body[at : at + BLOCK] for at in range(0, len(body), BLOCK)]


def check(key: dkim.SigningKey) -> None:
    """Stop when dkimpy does not take our signature: a fast wrong answer is no figure."""
    field = dkim.sign(HEAD, LINE, key, now_ts=1)
    record = dkim.dns_record(key).encode()

    def look_up(name: bytes, timeout: int = 5) -> bytes:  # noqa: ARG001  dkimpy passes both
        return record

    if not dkimpy.verify(field + HEAD + LINE, dnsfunc=look_up):
        raise SystemExit("dkimpy refuses our signature")


if __name__ == "__main__":
    main()
