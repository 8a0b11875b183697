"""Opening a session: each stage with each way to fail, TLS as the policy wants it, AUTH never in clear."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sendry.config.values import RelayTls
from sendry.delivery.hosts import Host
from sendry.delivery.session import Dialer, NoSession, Session
from sendry.delivery.settings import Relay
from sendry.delivery.trust import Trust
from sendry.mail.bounce_class import BounceClass
from sendry.mail.outcome import Outcome, Stage
from tests.delivery.make import settings
from tests.remote_mx import Action, Authority, Drop, Raw, RemoteMx, Silence


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    return asyncio.run if request.param == "asyncio" else uvloop.run


still_good: list[bool] = []
"""Of each session opened: whether it could take a message."""


def opened(
    mx: RemoteMx,
    tls: RelayTls = RelayTls.OPPORTUNISTIC,
    relay: Relay | None = None,
    *,
    trust: Trust | None = None,
    run: Any = asyncio.run,
    name: str = "mx.test",
    seconds: float = 60.0,
    **changes: Any,
) -> Session:
    async def go() -> Session:
        dialer = Dialer(settings(**changes), trust or Trust())
        try:
            session = await dialer.open(Host(name, mx.ip, mx.port), tls, relay, seconds)
            still_good.append(session.can_go_on)
            session.wire.leave(1)
            return session
        finally:
            await asyncio.to_thread(mx.wait_until, lambda: mx.live == 0)
            await asyncio.sleep(0.01)  # for the transport of our side to be closed by its loop

    session: Session = run(go())
    return session


def failed(mx: RemoteMx, *given: Any, **changes: Any) -> NoSession:
    with pytest.raises(NoSession) as caught:
        opened(mx, *given, **changes)
    return caught.value


def test_a_session_is_opened_with_ehlo_and_left_with_quit(mx: RemoteMx, run: Any) -> None:
    session = opened(mx, run=run)

    assert mx.commands == ["EHLO out.example.com", "QUIT"]
    assert session.is_pipelining
    assert session.largest == 52428800
    assert (session.facts.host, session.facts.ip, session.facts.source_ip) == ("mx.test", "127.0.0.1", "127.0.0.1")
    assert session.facts.tls == ""


def test_a_host_without_ehlo_is_greeted_with_helo(mx: RemoteMx) -> None:
    mx.say("EHLO", "502 5.5.1 not implemented")

    session = opened(mx)

    assert mx.commands == ["EHLO out.example.com", "HELO out.example.com", "QUIT"]
    assert not session.is_pipelining


def test_a_greeting_of_several_lines_is_one_greeting(mx: RemoteMx) -> None:
    mx.say("banner", "220-mx.test ESMTP\r\n220-no unsolicited mail\r\n220 ready")

    opened(mx)

    assert still_good[-1]


def test_replies_cut_into_single_octets_are_read_all_the_same(mx: RemoteMx) -> None:
    mx.say("EHLO", Raw(b"250-mx.test\n250-PIPELINING\n250 SIZE 100\n"))

    assert opened(mx).largest == 100


STAGES: list[tuple[str, Action, Stage, str]] = [
    ("banner", "421 4.3.2 too busy", Stage.BANNER, "4.3.2"),
    ("banner", "450 4.7.0 not yet", Stage.BANNER, "4.7.0"),
    ("banner", "554 5.7.1 go away", Stage.BANNER, "4.7.1"),
    ("banner", Drop(), Stage.BANNER, "4.4.2"),
    ("banner", Drop("554 5.3.2 closed"), Stage.BANNER, "4.3.2"),
    ("banner", Silence(), Stage.BANNER, "4.4.2"),
    ("banner", "SSH-2.0-OpenSSH_9.2", Stage.BANNER, "4.5.0"),
    ("EHLO", "421 4.3.2 closing", Stage.EHLO, "4.3.2"),
    ("EHLO", "451 4.3.0 later", Stage.EHLO, "4.3.0"),
    ("EHLO", Drop(), Stage.EHLO, "4.4.2"),
    ("EHLO", Silence(), Stage.EHLO, "4.4.2"),
    ("EHLO", "no reply at all", Stage.EHLO, "4.5.0"),
]


@pytest.mark.parametrize(("stage", "action", "ended", "enhanced"), STAGES)
def test_a_failure_before_mail_is_temporary_and_says_where(
    mx: RemoteMx, stage: str, action: Action, ended: Stage, enhanced: str
) -> None:
    mx.say(stage, action)

    failure = failed(mx, command_timeout=0.3)

    assert failure.stage is ended
    assert failure.verdict.kind is Outcome.DEFERRED
    assert failure.verdict.enhanced == enhanced
    assert failure.facts.ip == "127.0.0.1"


def test_ehlo_and_helo_refused_for_good_is_temporary_too(mx: RemoteMx) -> None:
    mx.say("EHLO", "550 5.7.1 helo name refused")
    mx.say("HELO", "550 5.7.1 helo name refused")

    failure = failed(mx)

    assert (failure.stage, failure.verdict.kind, failure.verdict.code) == (Stage.EHLO, Outcome.DEFERRED, 550)


def test_nobody_listening_is_a_failure_to_connect() -> None:
    with RemoteMx() as mx:
        pass

    failure = failed(mx)

    assert (failure.stage, failure.verdict.enhanced) == (Stage.CONNECT, "4.4.1")
    assert failure.verdict.bounce_class is BounceClass.CONNECT
    assert "Connection refused" in failure.verdict.text


def test_a_connection_that_is_reset_at_once_is_temporary(mx: RemoteMx) -> None:
    mx.say("banner", Drop(hard=True))

    failure = failed(mx)

    assert failure.stage in (Stage.CONNECT, Stage.BANNER)
    assert failure.verdict.kind is Outcome.DEFERRED


def test_all_steps_together_have_their_time(mx: RemoteMx) -> None:
    mx.say("EHLO", Silence())

    failure = failed(mx, seconds=0.2, command_timeout=30.0)

    assert failure.verdict.kind is Outcome.DEFERRED
    assert "not ready for mail" in failure.verdict.text


def test_an_endless_line_is_cut_off(mx: RemoteMx) -> None:
    mx.say("banner", Raw(b"220 " + b"x" * 100_000))

    assert "without end" in failed(mx).verdict.text


def test_an_endless_reply_is_cut_off(mx: RemoteMx) -> None:
    mx.say("banner", Raw(b"220-x\r\n" * 1000))

    assert "without end" in failed(mx).verdict.text


def test_opportunistic_tls_takes_a_certificate_nobody_knows(authority: Authority, run: Any) -> None:
    with RemoteMx(tls=authority.server("other.test")) as mx:
        session = opened(mx, run=run)

    assert session.facts.tls == "TLSv1.3"
    assert session.facts.tls_verified == "unverified"
    assert mx.commands == ["EHLO out.example.com", "STARTTLS", "EHLO out.example.com", "QUIT"]


def test_a_valid_certificate_is_noted(authority: Authority, run: Any) -> None:
    with RemoteMx(tls=authority.server("mx.test")) as mx:
        session = opened(mx, trust=Trust(Path(authority.file)), run=run)

    assert session.facts.tls_verified == "web-pki"


def test_a_certificate_for_another_name_is_noted_as_unverified(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("other.test")) as mx:
        session = opened(mx, trust=Trust(Path(authority.file)))

    assert session.facts.tls_verified == "unverified"


def test_what_was_announced_in_clear_is_forgotten_after_starttls(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("mx.test")) as mx:
        mx.say("EHLO", mx._ehlo(), "250 mx.test")
        session = opened(mx)

    assert session.extensions == {}


def test_no_tls_is_begun_when_the_policy_is_none(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("mx.test")) as mx:
        session = opened(mx, RelayTls.NONE)

    assert session.facts.tls == ""
    assert "STARTTLS" not in mx.commands


@pytest.mark.parametrize(
    "action", ["454 4.7.0 TLS not available", "220 go ahead", Drop("220 go ahead"), Drop(), Silence(), "501 what"]
)
def test_when_tls_fails_a_new_connection_goes_on_in_clear(mx: RemoteMx, action: Action, run: Any) -> None:
    # After "220 go ahead" this server has no TLS to offer and answers the handshake in clear.
    mx.extensions = (*mx.extensions, "STARTTLS")
    mx.say("STARTTLS", action if action != "220 go ahead" else Raw(b"220 go ahead\r\nthis is no TLS\r\n"))

    session = opened(mx, run=run, command_timeout=0.3, connect_timeout=0.5)

    assert session.facts.tls == ""
    assert mx.connections == 2


def test_octets_behind_the_reply_to_starttls_are_never_taken_for_a_reply(authority: Authority, run: Any) -> None:
    with RemoteMx(tls=authority.server("mx.test")) as mx:
        mx.say("STARTTLS", Raw(b"220 go ahead\r\n250-mx.test\r\n250 AUTH PLAIN\r\n"))
        failure = failed(mx, RelayTls.REQUIRE, trust=Trust(Path(authority.file)), run=run)

    assert failure.stage is Stage.STARTTLS
    assert "behind the reply" in failure.verdict.text


@pytest.mark.parametrize("is_offered", [True, False])
def test_required_tls_that_is_not_to_be_had_is_temporary(authority: Authority, is_offered: bool) -> None:
    with RemoteMx(tls=authority.server("mx.test") if is_offered else None) as mx:
        mx.say("STARTTLS", "454 4.7.0 TLS not available")
        failure = failed(mx, RelayTls.REQUIRE)

    assert failure.verdict.kind is Outcome.DEFERRED
    assert failure.verdict.bounce_class is BounceClass.TLS
    assert mx.connections == 1


@pytest.mark.parametrize("name", ["mx.test", "other.test"])
def test_required_tls_wants_a_certificate_for_the_host(authority: Authority, name: str, run: Any) -> None:
    with RemoteMx(tls=authority.server(name)) as mx:
        if name == "mx.test":
            session = opened(mx, RelayTls.REQUIRE, trust=Trust(Path(authority.file)), run=run)
            assert session.facts.tls_verified == "web-pki"
        else:
            failure = failed(mx, RelayTls.REQUIRE, trust=Trust(Path(authority.file)), run=run)
            assert failure.verdict.enhanced == "4.7.5"
            assert "ostname mismatch" in failure.verdict.text


def test_required_tls_refuses_an_unknown_authority(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("mx.test")) as mx:
        assert failed(mx, RelayTls.REQUIRE).verdict.bounce_class is BounceClass.TLS


def test_required_tls_to_an_address_wants_it_in_the_certificate(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("127.0.0.1")) as mx:
        session = opened(mx, RelayTls.REQUIRE, trust=Trust(Path(authority.file)), name="")

    assert session.facts.tls == "TLSv1.3"


def test_tls_refused_after_our_side_of_the_handshake_is_a_failure_of_tls(authority: Authority) -> None:
    context = authority.server("mx.test")
    context.verify_mode = ssl.CERT_REQUIRED  # it wants a certificate of ours, which comes last in TLS 1.3
    with RemoteMx(tls=context) as mx:
        session = opened(mx)

    assert session.facts.tls == ""
    assert mx.connections == 2


def relay(mx: RemoteMx, tls: RelayTls, user: str = "us") -> Relay:
    return Relay("mx.test", mx.port, tls, user, "sécret" if user else "")


def test_implicit_tls_is_spoken_from_the_first_octet(authority: Authority, run: Any) -> None:
    with RemoteMx(tls=authority.server("mx.test"), is_implicit=True) as mx:
        session = opened(mx, RelayTls.IMPLICIT, trust=Trust(Path(authority.file)), run=run)

    assert session.facts.tls == "TLSv1.3"
    assert session.facts.tls_verified == "web-pki"
    assert "STARTTLS" not in mx.commands


def test_a_plain_server_on_an_implicit_tls_port_is_a_failure_of_tls(mx: RemoteMx) -> None:
    assert failed(mx, RelayTls.IMPLICIT, connect_timeout=0.5).stage in (Stage.STARTTLS, Stage.CONNECT)


def test_the_password_goes_by_auth_plain_under_tls(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("mx.test"), extensions=("AUTH LOGIN PLAIN",)) as mx:
        opened(mx, RelayTls.REQUIRE, relay(mx, RelayTls.REQUIRE), trust=Trust(Path(authority.file)))

    expected = base64.b64encode("\0us\0sécret".encode()).decode()
    assert f"AUTH PLAIN {expected}" in mx.commands


def test_the_password_goes_by_auth_login_where_there_is_no_plain(authority: Authority) -> None:
    with RemoteMx(tls=authority.server("mx.test"), extensions=("AUTH=LOGIN",)) as mx:
        mx.say("AUTH", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok")
        opened(mx, RelayTls.OPPORTUNISTIC, relay(mx, RelayTls.OPPORTUNISTIC))

    user, password = (base64.b64encode(word.encode()).decode() for word in ("us", "sécret"))
    assert mx.commands[-4:] == ["AUTH LOGIN", user, password, "QUIT"]


def test_the_password_is_never_sent_in_clear_unasked(mx: RemoteMx) -> None:
    mx.extensions = ("AUTH PLAIN",)

    failure = failed(mx, RelayTls.OPPORTUNISTIC, relay(mx, RelayTls.OPPORTUNISTIC))

    assert failure.stage is Stage.AUTH
    assert failure.verdict.kind is Outcome.DEFERRED
    assert not any(line.startswith("AUTH") for line in mx.commands)


def test_the_password_is_not_sent_in_clear_when_tls_was_broken_on_the_way(mx: RemoteMx) -> None:
    mx.extensions = ("STARTTLS", "AUTH PLAIN")
    mx.say("STARTTLS", Drop())

    assert failed(mx, RelayTls.OPPORTUNISTIC, relay(mx, RelayTls.OPPORTUNISTIC)).stage is Stage.AUTH
    assert not any(line.startswith("AUTH") for line in mx.commands)


def test_the_operator_may_ask_for_a_password_in_clear(mx: RemoteMx) -> None:
    mx.extensions = ("AUTH PLAIN",)

    opened(mx, RelayTls.NONE, relay(mx, RelayTls.NONE))

    assert still_good[-1]
    assert any(line.startswith("AUTH PLAIN") for line in mx.commands)


@pytest.mark.parametrize("reply", ["535 5.7.8 wrong", "454 4.7.0 later", "334 more", "garbage"])
def test_a_refused_login_keeps_the_mail(mx: RemoteMx, reply: str) -> None:
    mx.extensions = ("AUTH PLAIN",)
    mx.say("AUTH", reply)

    failure = failed(mx, RelayTls.NONE, relay(mx, RelayTls.NONE))

    assert (failure.stage, failure.verdict.kind) == (Stage.AUTH, Outcome.DEFERRED)


def test_a_smart_host_without_a_known_mechanism_keeps_the_mail(mx: RemoteMx) -> None:
    mx.extensions = ("AUTH CRAM-MD5",)

    assert "AUTH PLAIN" in failed(mx, RelayTls.NONE, relay(mx, RelayTls.NONE)).verdict.text


def test_a_word_that_nobody_asked_for_ends_the_use_of_a_session(mx: RemoteMx) -> None:
    mx.say("EHLO", Raw(b"250 mx.test\r\n421 4.4.2 idle too long\r\n"))

    opened(mx)

    assert not still_good[-1]
