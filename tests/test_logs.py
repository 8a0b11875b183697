"""Every line of the log is one object with the same head, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendry import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("sendry")
    handlers, levels = list(root.handlers), (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    logs.configure("info", "json", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_component_text_and_its_fields(lines: Lines) -> None:
    logging.getLogger("sendry.queue.line").warning("recipient deferred", extra={"code": 451, "domain": "пример.рф"})
    (line,) = lines()
    assert list(line) == ["ts", "level", "component", "msg", "code", "domain"]
    assert line["level"] == "warning"
    assert line["component"] == "queue.line"
    assert line["msg"] == "recipient deferred"
    assert (line["code"], line["domain"]) == (451, "пример.рф")


def test_time_is_rfc_3339_in_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"name": "sendry", "msg": "x", "created": 1795353972.0042})
    assert json.loads(logs.JsonLines().format(record))["ts"] == "2026-11-22T13:26:12.004Z"


def test_letters_beyond_ascii_stay_readable(stream: io.StringIO, lines: Lines) -> None:
    logging.getLogger("sendry").info("привет")
    assert "привет" in stream.getvalue()
    assert lines()[0]["component"] == "sendry"


def test_the_message_id_is_on_every_line_inside_and_on_none_outside(lines: Lines) -> None:
    log = logging.getLogger("sendry.delivery")
    with logs.about("m1"):
        log.info("first")
        with logs.about("m2"):
            log.info("second")
        log.info("third", extra={"message_id": "named"})
    log.info("fourth")
    assert [line.get("message_id") for line in lines()] == ["m1", "m2", "named", None]


def test_our_level_counts_for_us_and_libraries_are_heard_from_warning_up(lines: Lines) -> None:
    logging.getLogger("sendry.x").debug("no")
    logging.getLogger("sendry.x").info("yes")
    for name in ("waitress", "apscheduler.scheduler", "peewee", "asyncio"):
        logging.getLogger(name).info("no")
        logging.getLogger(name).warning("yes")
    assert [line["msg"] for line in lines()] == ["yes"] * 5


def test_the_commands_of_smtp_clients_are_not_logged_at_any_level(stream: io.StringIO) -> None:
    logs.configure("debug", "json", stream)
    log = logging.getLogger("mail.log")
    log.debug("readline: AUTH PLAIN aHVudGVyMg==")
    log.info(">> AUTH PLAIN aHVudGVyMg==")
    log.warning("unrecognised: aHVudGVyMg==")
    assert stream.getvalue() == ""
    log.error("session exception")
    assert "session exception" in stream.getvalue()


@pytest.mark.parametrize(
    "name", ["password", "smtp_password", "api_key", "Authorization", "session_token", "client_secret"]
)
def test_a_field_named_like_a_secret_is_masked(lines: Lines, stream: io.StringIO, name: str) -> None:
    logging.getLogger("sendry").info("x", extra={name: "hunter2", "headers": {name: "hunter2"}})
    assert "hunter2" not in stream.getvalue()
    assert lines()[0][name] == logs.MASK


def test_a_password_inside_a_url_is_masked_wherever_it_turns_up(lines: Lines, stream: io.StringIO) -> None:
    url = "postgresql://sendry:hunter2@db/mail"
    try:
        raise RuntimeError(f"no route to {url}")
    except RuntimeError:
        logging.getLogger("sendry").exception("cannot open %s", url, extra={"url": url})
    assert "hunter2" not in stream.getvalue()
    assert lines()[0]["msg"] == "cannot open postgresql://sendry:********@db/mail"


def test_an_exception_gives_error_and_trace_on_the_same_line(lines: Lines) -> None:
    try:
        int("missing")
    except ValueError:
        logging.getLogger("sendry.jobs").exception("job failed", extra={"job": "sweep"})
    (line,) = lines()
    assert line["error"].startswith("ValueError: invalid literal")
    assert line["trace"].startswith("Traceback")


def test_values_of_any_type_can_be_logged(lines: Lines) -> None:
    itself: dict[str, Any] = {}
    itself["me"] = itself
    logging.getLogger("sendry").info(
        "x", extra={"at": datetime(2026, 1, 2, tzinfo=UTC), "raw": b"\xff\n", "all": {2, 1}, "level": "mine"}
    )
    logging.getLogger("sendry").info("loop", extra={"itself": [itself]})
    first, second = lines()
    assert (first["at"], first["raw"], first["all"]) == ("2026-01-02T00:00:00Z", "\\xff\n", [1, 2])
    assert (first["level"], first["level_"]) == ("info", "mine")
    assert second["msg"] == "loop"


def test_a_wrong_placeholder_in_a_log_call_does_not_cost_the_line() -> None:
    record = logging.makeLogRecord({"name": "sendry", "msg": "%d wrong", "args": ("text",)})
    assert json.loads(logs.JsonLines().format(record))["msg"] == "%d wrong"


def test_a_mapping_that_contains_itself_costs_its_fields_and_not_the_line(lines: Lines) -> None:
    itself: dict[str, Any] = {}
    itself["me"] = itself
    logging.getLogger("sendry").info("x", extra={"itself": itself})
    assert lines()[0]["msg"] == "x"


def test_a_long_value_is_cut(lines: Lines) -> None:
    logging.getLogger("sendry").info("x", extra={"reply": "a" * 100_000})
    assert len(lines()[0]["reply"]) == 4001


@given(st.text(), st.one_of(st.text(), st.binary()))
@example("\x85\u2028\x1b[31m\x9b31m\u202e\r\n\x00\ud800", b"\n")
def test_whatever_is_logged_stays_one_line(text: str, value: str | bytes) -> None:
    record = logging.makeLogRecord({"name": "sendry.x", "msg": text, "levelname": "INFO", "value": value})
    line = logs.JsonLines().format(record)
    assert json.loads(line)["msg"] == text
    for written in (line, logs.TextLines().format(record)):
        assert len(written.splitlines()) == 1
        assert "\x1b" not in written
        written.encode()


def test_a_lone_surrogate_does_not_cost_the_line() -> None:
    raw = io.BytesIO()
    root = logging.getLogger()
    # pytest's own capture would put the surrogate into its report, which cannot be sent between its processes.
    for handler in [h for h in root.handlers if type(h).__module__.startswith("_pytest")]:
        root.removeHandler(handler)
    logs.configure("info", "json", io.TextIOWrapper(raw, "ascii", write_through=True))
    logging.getLogger("sendry").info("name \udcff é")
    assert json.loads(raw.getvalue())["msg"] == "name \udcff é"


def test_text_is_one_readable_line(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream)
    with logs.about("m1"):
        logging.getLogger("sendry.queue").info("recipient deferred", extra={"code": 451, "text": 'a "b"', "none": ""})
    stamp, rest = stream.getvalue().split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'INFO    queue: recipient deferred message_id=m1 code=451 text="a \\"b\\"" none=""\n'


def test_configuring_again_replaces_the_old_way(stream: io.StringIO, lines: Lines) -> None:
    again = io.StringIO()
    logs.configure("error", "text", again)
    logging.getLogger("sendry").error("x")
    assert stream.getvalue() == ""
    assert again.getvalue().count("\n") == 1
