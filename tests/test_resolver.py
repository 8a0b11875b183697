"""DNS: each kind of answer to its class, kept as long as it may be, asked once however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from sendry.resolver import LookupFailed, MxAnswer, MxHost, MxKind, Resolver, to_ascii
from tests.zones import Fault, Zones


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def zones() -> Iterator[Zones]:
    with Zones() as zones:
        yield zones


def resolver_for(zones: Zones, clock: Clock | None = None) -> Resolver:
    return Resolver((zones.address,), clock=clock or Clock(), lifetime=0.6, timeout=0.2)


def mx(zones: Zones, domain: str) -> MxAnswer:
    return asyncio.run(resolver_for(zones).mx(domain))


def addresses(zones: Zones, host: str) -> tuple[str, ...]:
    return asyncio.run(resolver_for(zones).addresses(host))


def test_mx_hosts_come_in_the_order_of_their_preference(zones: Zones) -> None:
    zones.mx("example.test", (20, "b.example.test"), (10, "A.Example.Test"), (20, "a2.example.test"))

    answer = mx(zones, "Example.TEST.")

    assert answer.kind is MxKind.HOSTS
    assert answer.hosts == (
        MxHost(10, "a.example.test"), MxHost(20, "a2.example.test"), MxHost(20, "b.example.test"),
    )  # fmt: skip


def test_a_null_mx_is_told_from_hosts(zones: Zones) -> None:
    zones.mx("none.test", (0, "."))

    assert mx(zones, "none.test").kind is MxKind.NULL


def test_a_root_beside_real_hosts_is_left_out(zones: Zones) -> None:
    zones.mx("odd.test", (0, "."), (10, "mx.odd.test"))

    assert mx(zones, "odd.test").hosts == (MxHost(10, "mx.odd.test"),)


def test_a_domain_without_mx_is_its_own_host(zones: Zones) -> None:
    zones.a("plain.test", "192.0.2.1")

    assert mx(zones, "plain.test").kind is MxKind.IMPLICIT


def test_a_name_that_does_not_exist_is_permanent(zones: Zones) -> None:
    answer = mx(zones, "missing.test")

    assert answer.kind is MxKind.NXDOMAIN
    assert "missing.test" in answer.reason


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.SILENCE, Fault.GARBAGE])
def test_what_could_not_be_looked_up_is_a_failure_and_not_a_missing_name(zones: Zones, fault: Fault) -> None:
    zones.fail("broken.test", fault)

    answer = mx(zones, "broken.test")

    assert answer.kind is MxKind.FAILURE
    assert "broken.test" in answer.reason


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64 + ".test", "a." * 130 + "test", "xn--\u00e9"])
def test_a_name_that_cannot_exist_is_permanent_and_never_asked(zones: Zones, name: str) -> None:
    assert mx(zones, name).kind is MxKind.NXDOMAIN
    assert addresses(zones, name) == ()
    assert zones.asked == []


def test_an_international_domain_is_asked_as_a_labels(zones: Zones) -> None:
    zones.mx("xn--strae-oqa.test", (5, "mx.test"))

    assert mx(zones, "Straße.test").hosts == (MxHost(5, "mx.test"),)


def test_a_truncated_answer_is_asked_again_over_tcp(zones: Zones) -> None:
    zones.mx("large.test", *((10, f"mx{n}.large.test") for n in range(60)))
    zones.fail("large.test", Fault.TRUNCATED)

    assert len(mx(zones, "large.test").hosts) == 60
    assert [transport for *_, transport in zones.asked] == ["udp", "tcp"]


def test_an_alias_is_followed(zones: Zones) -> None:
    zones.cname("alias.test", "real.test")
    zones.mx("real.test", (10, "mx.real.test"))
    zones.a("real.test", "192.0.2.7")

    assert mx(zones, "alias.test").hosts == (MxHost(10, "mx.real.test"),)
    assert addresses(zones, "alias.test") == ("192.0.2.7",)


def test_a_loop_of_aliases_is_a_failure(zones: Zones) -> None:
    zones.cname("one.test", "two.test")
    zones.cname("two.test", "one.test")

    assert mx(zones, "one.test").kind is MxKind.FAILURE


def test_addresses_of_both_families_are_found(zones: Zones) -> None:
    zones.a("mx.test", "192.0.2.1", "192.0.2.2")
    zones.aaaa("mx.test", "2001:db8::1")

    assert addresses(zones, "mx.test") == ("192.0.2.1", "192.0.2.2", "2001:db8::1")


def test_one_family_is_enough_when_the_other_cannot_be_looked_up(zones: Zones) -> None:
    zones.a("mx.test", "192.0.2.1")
    zones.fail("mx.test", Fault.SERVFAIL, "AAAA")

    assert addresses(zones, "mx.test") == ("192.0.2.1",)


def test_no_address_because_of_a_failure_is_not_the_same_as_no_address(zones: Zones) -> None:
    zones.txt("mx.test", "exists")
    zones.fail("mx.test", Fault.SERVFAIL, "AAAA")

    with pytest.raises(LookupFailed):
        addresses(zones, "mx.test")
    assert addresses(zones, "missing.test") == ()


def test_localhost_is_never_asked_for(zones: Zones) -> None:
    assert addresses(zones, "localhost") == ("127.0.0.1", "::1")
    assert zones.asked == []


def test_a_host_the_operator_named_is_looked_up_as_the_system_does() -> None:
    assert "127.0.0.1" in asyncio.run(Resolver().named_addresses("localhost"))


def test_a_host_the_operator_named_is_asked_of_the_given_nameservers(zones: Zones) -> None:
    zones.a("relay.test", "192.0.2.25")

    assert asyncio.run(resolver_for(zones).named_addresses("relay.test")) == ("192.0.2.25",)


def test_an_answer_is_kept_for_its_ttl_and_no_longer(zones: Zones) -> None:
    clock = Clock()
    zones.mx("example.test", (10, "old.test"), ttl=100)

    async def walk() -> list[Any]:
        resolver = resolver_for(zones, clock)
        first = await resolver.mx("example.test")
        zones.mx("example.test", (10, "new.test"), ttl=100)
        clock.seconds += 90
        second = await resolver.mx("example.test")
        clock.seconds += 20
        return [first, second, await resolver.mx("example.test")]

    seen = asyncio.run(walk())

    assert [answer.hosts[0].name for answer in seen] == ["old.test", "old.test", "new.test"]


def test_a_missing_name_is_kept_as_long_as_the_soa_says(zones: Zones) -> None:
    clock = Clock()
    zones.negative_ttl = 30

    async def walk() -> list[MxKind]:
        resolver = resolver_for(zones, clock)
        kinds = [(await resolver.mx("late.test")).kind]
        zones.mx("late.test", (10, "mx.late.test"))
        clock.seconds += 25
        kinds.append((await resolver.mx("late.test")).kind)
        clock.seconds += 10
        return [*kinds, (await resolver.mx("late.test")).kind]

    assert asyncio.run(walk()) == [MxKind.NXDOMAIN, MxKind.NXDOMAIN, MxKind.HOSTS]


def test_a_failure_is_kept_for_seconds_only(zones: Zones) -> None:
    clock = Clock()
    zones.fail("example.test", Fault.SERVFAIL)

    async def walk() -> list[MxKind]:
        resolver = resolver_for(zones, clock)
        kinds = [(await resolver.mx("example.test")).kind]
        zones.remove("example.test")
        zones.mx("example.test", (10, "mx.test"))
        kinds.append((await resolver.mx("example.test")).kind)
        clock.seconds += 11
        return [*kinds, (await resolver.mx("example.test")).kind]

    assert asyncio.run(walk()) == [MxKind.FAILURE, MxKind.FAILURE, MxKind.HOSTS]


def test_many_who_ask_at_once_share_one_question(zones: Zones) -> None:
    zones.mx("busy.test", (10, "mx.busy.test"))

    async def crowd() -> None:
        resolver = resolver_for(zones)
        await asyncio.gather(*(resolver.mx("busy.test") for _ in range(200)))

    asyncio.run(crowd())

    assert zones.asked == [("busy.test", "MX", "udp")]


def test_who_stops_waiting_does_not_take_the_answer_from_others(zones: Zones) -> None:
    zones.mx("shared.test", (10, "mx.shared.test"))

    async def walk() -> MxAnswer:
        resolver = resolver_for(zones)
        hasty = asyncio.ensure_future(resolver.mx("shared.test"))
        patient = asyncio.ensure_future(resolver.mx("shared.test"))
        await asyncio.sleep(0)
        hasty.cancel()
        return await patient

    assert asyncio.run(walk()).kind is MxKind.HOSTS


def test_the_second_nameserver_answers_when_the_first_is_silent(zones: Zones) -> None:
    with Zones() as silent:
        silent.fail("example.test", Fault.SILENCE)
        zones.mx("example.test", (10, "mx.test"))
        resolver = Resolver((silent.address, zones.address), lifetime=3, timeout=0.2)

        assert asyncio.run(resolver.mx("example.test")).kind is MxKind.HOSTS


def test_it_works_on_the_loop_that_delivery_uses(zones: Zones) -> None:
    zones.mx("large.test", *((10, f"mx{n}.large.test") for n in range(60)))
    zones.fail("large.test", Fault.TRUNCATED)

    assert len(uvloop.run(resolver_for(zones).mx("large.test")).hosts) == 60


def test_names_are_written_in_lower_case_without_the_final_dot() -> None:
    assert to_ascii("ExAmple.Test.") == "example.test"
    assert to_ascii("почта.рф") == "xn--80a1acny.xn--p1ai"
