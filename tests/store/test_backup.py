"""A copy taken while mail comes in opens, and holds all that was answered before it began."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sendry.config import loads
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.queue.views import MessageFilter
from sendry.service import Service
from sendry.store.backup import FolderInUse, copy_installation
from sendry.store.spool import SPOOL_FROM

HEAD = b"From: <a@example.com>\r\nSubject: x\r\n\r\n"


def open_service(folder: Path) -> Service:
    text = f'[smtp]\ndomain = "example.com"\n[api]\napi_key = "sk_01234567"\n[storage]\npath = "{folder}/queue.db"\n'
    return Service(loads(text), ())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = open_service(tmp_path / "data")
    yield service
    service.stop()


def hand_in(service: Service, body: bytes) -> Future[str]:
    content = Content(HEAD, body)
    if len(body) >= SPOOL_FROM:
        file = service.store.spool.create()
        file.write(HEAD + body)
        file.sync()
        content = Content(HEAD, b"", file.name, len(HEAD), len(body))
    origin = Origin(OriginKind.SMTP, may_relay=True)
    envelope = Envelope("a@example.com", (Addressee("b@example.net"),), content, origin)
    return service.intake.accept(envelope, datetime.now(UTC))


def contents(service: Service) -> dict[str, bytes]:
    """What each message of an installation holds."""
    found = {}
    for row in service.rooms.lookup.messages(MessageFilter(), limit=100_000).items:
        content = service.queue.open_content(row.number)
        assert content is not None
        found[row.id] = content.read()
    return found


@contextmanager
def restored(copy: Path, folder: Path) -> Iterator[Service]:
    """An installation over a copy."""
    shutil.copytree(copy, folder)
    service = open_service(folder)
    try:
        yield service
    finally:
        service.stop()


def test_a_copy_taken_under_load_holds_what_was_answered_before(service: Service, tmp_path: Path) -> None:
    answered: dict[str, bytes] = {}
    is_over = threading.Event()

    def load(size: int) -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            body = b"%d of %d\r\n" % (number, size) + b"x" * size + b"\r\n"
            answered[hand_in(service, body).result()] = HEAD + body

    threads = [threading.Thread(target=load, args=(size,)) for size in (10, 1000, SPOOL_FROM)]
    for thread in threads:
        thread.start()
    for number in range(3):
        while sum(len(octets) > SPOOL_FROM for octets in list(answered.values())) < 5 * (number + 1):
            is_over.wait(0.01)
        before = dict(answered)
        copied = copy_installation(tmp_path / "data" / "queue.db", tmp_path / "data", tmp_path / f"copy{number}")
        assert copied.messages >= len(before)
        with restored(tmp_path / f"copy{number}", tmp_path / f"restored{number}") as other:
            held = contents(other)
        assert before.items() <= held.items()
        assert (len(held), copied.lost) == (copied.messages, 0)
    is_over.set()
    for thread in threads:
        thread.join()


def test_the_copy_has_the_rest_of_the_data_folder_and_no_notes_of_running_processes(
    service: Service, tmp_path: Path
) -> None:
    (tmp_path / "data" / "dkim").mkdir()
    (tmp_path / "data" / "dkim" / "key.pem").write_text("key")
    copy_installation(tmp_path / "data" / "queue.db", tmp_path / "data", tmp_path / "copy")
    names = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert names == {"queue.db", "web-secret", "dkim/key.pem"}
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    assert (tmp_path / "copy" / "queue.db").stat().st_mode & 0o077 == 0


def test_an_upload_that_no_message_names_is_not_in_it(service: Service, tmp_path: Path) -> None:
    upload = service.store.spool.create()
    upload.write(b"half")
    copy_installation(tmp_path / "data" / "queue.db", tmp_path / "data", tmp_path / "copy")
    upload.discard()
    assert os.listdir(tmp_path / "copy" / "spool") == []


def test_a_message_whose_file_is_gone_is_told_and_the_rest_is_copied(service: Service, tmp_path: Path) -> None:
    hand_in(service, b"x" * SPOOL_FROM).result()
    (name,) = os.listdir(tmp_path / "data" / "spool")
    (tmp_path / "data" / "spool" / name).unlink()
    identity = hand_in(service, b"y" * SPOOL_FROM).result()
    copied = copy_installation(tmp_path / "data" / "queue.db", tmp_path / "data", tmp_path / "copy")
    assert (copied.messages, copied.lost) == (2, 1)
    with restored(tmp_path / "copy", tmp_path / "restored") as other:
        number = other.rooms.lookup.messages(MessageFilter()).items[0]
        assert number.id == identity
        content = other.queue.open_content(number.number)
        assert content is not None
        assert content.read().endswith(b"yyy")


def test_a_folder_in_use_is_left_alone(service: Service, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("mine")
    with pytest.raises(FolderInUse):
        copy_installation(tmp_path / "data" / "queue.db", tmp_path / "data", tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["mine"]
