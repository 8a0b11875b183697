"""Tables and lists in the guides say what the code does: codes of errors, states, events, retries, replies."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sendry.api.schema import MISSING_FEATURE, SendRequest
from sendry.config.values import DeliveryTls, DomainMode
from sendry.delivery import retry
from sendry.delivery.settings import Settings
from sendry.mail.bounce_class import BounceClass
from sendry.mail.outcome import Stage, judge
from sendry.mail.reply import Reply
from sendry.queue.states import EventKind, Status
from tests import make
from tests.docs.guides import DOCS, ROOT, read, spans, table

API = read(DOCS / "api.md")
DELIVERY = read(DOCS / "delivery.md")
SANDBOX = read(DOCS / "sandbox.md")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STAGES = {"the mail": Stage.FINAL_DOT, "greeting": Stage.BANNER}


class Middle(random.Random):
    """Chance that always takes the middle: no jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def error_codes() -> Iterator[tuple[str, int]]:
    """Every code the API answers with its status, as its modules write them."""
    for module in (ROOT / "sendry" / "api").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ApiError":
                status, code = map(_said, node.args[:2])
                if isinstance(status, int) and isinstance(code, str):
                    yield code, status
            elif isinstance(node, ast.Dict):
                for status_node, words in zip(node.keys, node.values, strict=True):
                    status = _said(status_node)
                    if isinstance(status, int) and isinstance(words, ast.Tuple):
                        yield str(_said(words.elts[0])), status


def _said(node: ast.expr | None) -> object:
    """The value of a literal, or of the one constant that codes are written with."""
    if isinstance(node, ast.Name) and node.id == "MISSING_FEATURE":
        return MISSING_FEATURE
    return node.value if isinstance(node, ast.Constant) else None


def duration(text: str) -> timedelta:
    """`5d17h15m` as a timedelta."""
    found = {unit: int(number) for number, unit in re.findall(r"(\d+)([dhm])", text)}
    return timedelta(days=found.get("d", 0), hours=found.get("h", 0), minutes=found.get("m", 0))


def test_the_table_of_errors_has_every_code_of_the_api_with_its_status() -> None:
    shown = {(code, status) for code, status, _ in table(API, "code")}
    assert shown - {("http_error", "other")} == {(code, str(status)) for code, status in error_codes()}


def test_the_guide_to_the_api_names_every_field_of_a_mail() -> None:
    fields = {field.alias or name for name, field in SendRequest.model_fields.items()}
    later = {"template_id", "template_name", "data", "track_opens", "track_clicks"}
    shown = {name for row in table(API, "field") for name in re.findall(r"[a-z_]+", row[0])}
    assert shown == fields - later


def test_the_table_of_states_has_those_a_recipient_can_be_in() -> None:
    shown = {state for state, _ in table(DELIVERY, "state")}
    assert shown == {status.value for status in Status} - {"suppressed"}


def test_the_guide_to_the_api_names_the_events_that_are_written() -> None:
    written = {kind.value for kind in EventKind} - {"attempted", "bounced"}
    named = set(re.findall(r"`([a-z]+)`", API[API.index("Types:") : API.index("Find messages")]))
    assert named == written


def test_the_table_of_modes_has_all() -> None:
    assert {mode for mode, *_ in table(SANDBOX, "mode")} == {mode.value for mode in DomainMode}


def test_the_table_of_tls_has_all() -> None:
    assert {value for value, _ in table(DELIVERY, "value")} == {value.value for value in DeliveryTls}


def test_the_table_of_retries_has_the_times_at_which_they_come() -> None:
    settings = Settings.of(make.config("queue.max_retries = 40"))
    at = [NOW]
    for attempts in range(1, 40):
        due = retry.next_attempt(attempts, at[-1], settings, Middle())
        assert due is not None
        at.append(due)
    for number, wait, after in table(DELIVERY, "attempt"):
        attempt = int(number)
        assert at[attempt - 1] - NOW == duration(after), attempt
        assert at[attempt - 1] - at[max(0, attempt - 2)] == duration(wait), attempt


@pytest.mark.parametrize("row", list(table(DELIVERY, "reply")), ids=lambda row: f"{row[0]} to {row[1]}")
def test_a_reply_means_what_the_guide_says(row: list[str]) -> None:
    reply, to, outcome, bounce_class = row
    verdict = judge(Reply.parse([reply.encode()]), STAGES.get(to) or Stage(to.lower()))
    assert (verdict.kind, verdict.bounce_class or "") == (outcome, bounce_class)


def test_the_guide_to_delivery_names_every_class() -> None:
    shown = {row[3] for row in table(DELIVERY, "reply")} | set(spans(DELIVERY))
    assert {bounce_class.value for bounce_class in BounceClass} - shown == set()
