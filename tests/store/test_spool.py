"""Spool files: synced before anybody names them, read in pieces, found when nobody does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sendry.store.spool import CHUNK, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool")


def kept(spool: Spool, octets: bytes) -> str:
    file = spool.create()
    file.write(octets)
    file.sync()
    return file.name


def test_what_was_written_in_pieces_is_read_as_one(spool: Spool) -> None:
    file = spool.create()
    for piece in (b"one", bytearray(b"two"), memoryview(b"three"), b""):
        file.write(piece)
    file.sync()
    assert file.size == 11
    assert b"".join(spool.chunks(file.name, 0)) == b"onetwothree"


def test_reading_begins_where_the_head_ends(spool: Spool) -> None:
    assert b"".join(spool.chunks(kept(spool, b"head\r\n\r\nbody"), 8)) == b"body"


def test_large_content_is_read_in_bounded_pieces(spool: Spool) -> None:
    octets = os.urandom(2 * CHUNK + 100)
    pieces = list(spool.chunks(kept(spool, octets), 50))
    assert b"".join(pieces) == octets[50:]
    assert max(map(len, pieces)) <= CHUNK


def test_two_files_never_have_the_same_name(spool: Spool) -> None:
    assert len({kept(spool, b"") for _ in range(20)}) == 20


def test_syncing_brings_both_the_file_and_its_name_to_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    genuine = os.fsync

    def noting(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        synced.append("folder" if stat.S_ISDIR(mode) else "file")
        genuine(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    kept(spool, b"x")
    assert synced == ["file", "folder"]


@pytest.mark.parametrize("is_synced", [True, False])
def test_a_discarded_file_is_gone(spool: Spool, is_synced: bool) -> None:
    file = spool.create()
    file.write(b"x")
    if is_synced:
        file.sync()
    file.discard()
    file.discard()
    assert list(spool.folder.iterdir()) == []


def test_a_file_that_is_gone_says_so_to_who_reads_it_and_not_to_who_removes_it(spool: Spool) -> None:
    name = kept(spool, b"x")
    spool.remove(name)
    spool.remove(name)
    with pytest.raises(FileNotFoundError):
        list(spool.chunks(name, 0))


def test_files_untouched_since_a_time_are_found(spool: Spool) -> None:
    old, new = kept(spool, b"old"), kept(spool, b"new")
    os.utime(spool.folder / old, (1000, 1000))
    os.utime(spool.folder / new, (3000, 3000))
    (spool.folder / "README").write_text("not ours")
    os.utime(spool.folder / "README", (1000, 1000))
    assert spool.names_older_than(2000) == [old]
    assert sorted(spool.names_older_than(4000)) == sorted([old, new])
