"""`hash-password` takes one line and gives an argon2id hash."""

from __future__ import annotations

import subprocess
import sys

import argon2
import pytest


def hashed(octets: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "sendry.cli", "hash-password"]
    return subprocess.run(command, input=octets, capture_output=True, check=False)


def test_a_password_is_hashed_by_argon2id_at_the_cost_of_a_public_port() -> None:
    ran = hashed("пароль mit space \r\nsecond line\n".encode())
    assert ran.returncode == 0
    stored = ran.stdout.decode().strip()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert argon2.PasswordHasher().verify(stored, "пароль mit space ")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "the password is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe\n", "no UTF-8"),
        (b"x" * 1025, "longer than 1024"),
    ],
)
def test_what_is_no_password_is_refused(octets: bytes, reason: str) -> None:
    ran = hashed(octets)
    assert ran.returncode == 1
    assert ran.stdout == b""
    assert reason in ran.stderr.decode()
