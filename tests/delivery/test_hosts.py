"""Where mail for a destination goes, and where it never goes."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Iterator
from typing import Any

import pytest

from sendry.config.values import RelayTls
from sendry.delivery.hosts import Host, Hosts, Unroutable, is_of_this_machine, may_be_mx
from sendry.delivery.settings import Relay
from sendry.mail.outcome import Outcome, Verdict
from sendry.resolver import Resolver
from tests.delivery.make import listener, settings
from tests.zones import Fault, Zones


@pytest.fixture
def zones() -> Iterator[Zones]:
    with Zones() as zones:
        yield zones


def hosts_of(zones: Zones, destination: str, seed: int = 1, **changes: Any) -> tuple[Host, ...]:
    async def look() -> tuple[Host, ...]:
        resolver = Resolver((zones.address,), lifetime=0.6, timeout=0.2)
        return await Hosts(settings(**changes), resolver, random.Random(seed)).of(destination)

    return asyncio.run(look())


def names(hosts: tuple[Host, ...]) -> list[str]:
    return [str(host) for host in hosts]


def verdict(zones: Zones, destination: str, **changes: Any) -> Verdict:
    with pytest.raises(Unroutable) as caught:
        hosts_of(zones, destination, **changes)
    return caught.value.verdict


def test_the_best_preference_comes_first(zones: Zones) -> None:
    zones.mx("example.test", (20, "second.test"), (10, "first.test"))
    zones.a("first.test", "192.0.2.1")
    zones.a("second.test", "192.0.2.2")

    assert hosts_of(zones, "example.test") == (
        Host("first.test", "192.0.2.1", 25), Host("second.test", "192.0.2.2", 25),
    )  # fmt: skip


def test_inside_one_preference_the_order_is_random(zones: Zones) -> None:
    zones.mx("example.test", *((10, f"mx{n}.test") for n in range(4)), (5, "best.test"))
    zones.a("best.test", "192.0.2.9")
    for n in range(4):
        zones.a(f"mx{n}.test", f"192.0.2.{n}")

    orders = {tuple(names(hosts_of(zones, "example.test", seed))) for seed in range(8)}

    assert len(orders) > 3
    assert {order[0] for order in orders} == {"best.test"}


def test_both_address_families_take_turns(zones: Zones) -> None:
    zones.mx("example.test", (10, "mx.test"))
    zones.a("mx.test", "192.0.2.1", "192.0.2.2")
    zones.aaaa("mx.test", "2001:db8::1", "2001:db8::2")

    assert [":" in host.ip for host in hosts_of(zones, "example.test")] == [False, True, False, True]


def test_a_domain_without_mx_is_its_own_host(zones: Zones) -> None:
    zones.a("plain.test", "192.0.2.1")

    assert hosts_of(zones, "plain.test", port=2525) == (Host("plain.test", "192.0.2.1", 2525),)


def test_a_domain_that_takes_no_mail_is_permanent(zones: Zones) -> None:
    zones.mx("none.test", (0, "."))

    found = verdict(zones, "none.test")

    assert (found.kind, found.enhanced) == (Outcome.FAILED, "5.1.10")


def test_a_domain_that_does_not_exist_is_permanent(zones: Zones) -> None:
    found = verdict(zones, "missing.test")

    assert (found.kind, found.enhanced) == (Outcome.FAILED, "5.1.2")


def test_a_domain_with_neither_mx_nor_address_is_permanent(zones: Zones) -> None:
    zones.txt("empty.test", "exists")

    found = verdict(zones, "empty.test")

    assert (found.kind, found.enhanced) == (Outcome.FAILED, "5.4.4")


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.SILENCE, Fault.REFUSED])
def test_what_cannot_be_looked_up_is_temporary(zones: Zones, fault: Fault) -> None:
    zones.fail("broken.test", fault)

    found = verdict(zones, "broken.test")

    assert (found.kind, found.enhanced) == (Outcome.DEFERRED, "4.4.3")
    assert "broken.test" in found.text


def test_mx_hosts_without_an_address_are_temporary(zones: Zones) -> None:
    zones.mx("example.test", (10, "gone.test"), (20, "gone2.test"))

    assert verdict(zones, "example.test").kind is Outcome.DEFERRED


def test_an_mx_that_cannot_be_looked_up_does_not_hide_the_others(zones: Zones) -> None:
    zones.mx("example.test", (10, "broken.test"), (20, "works.test"))
    zones.fail("broken.test", Fault.SERVFAIL)
    zones.a("works.test", "192.0.2.1")

    assert names(hosts_of(zones, "example.test")) == ["works.test"]


def test_all_mx_hosts_broken_in_dns_is_temporary(zones: Zones) -> None:
    zones.mx("example.test", (10, "broken.test"), (20, "gone.test"))
    zones.fail("broken.test", Fault.SERVFAIL)

    assert verdict(zones, "example.test").enhanced == "4.4.3"


def test_fifty_mx_hosts_do_not_make_fifty_tries(zones: Zones) -> None:
    zones.mx("example.test", *((n, f"mx{n}.test") for n in range(50)))
    for n in range(50):
        zones.a(f"mx{n}.test", f"192.0.2.{n + 1}")

    assert len(hosts_of(zones, "example.test")) == 10


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255"]
)
def test_an_address_that_no_mail_host_can_have_is_refused(zones: Zones, ip: str) -> None:
    zones.mx("evil.test", (10, "mx.evil.test"))
    zones.a("mx.evil.test", ip)

    found = verdict(zones, "evil.test", allowed_networks=())

    assert (found.kind, found.enhanced) == (Outcome.FAILED, "5.4.4")


@pytest.mark.parametrize(
    "ip",
    [
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_an_ipv6_form_of_such_an_address_is_refused_too(ip: str) -> None:
    assert not may_be_mx(ip)


@pytest.mark.parametrize("ip", ["192.0.2.1", "10.0.0.5", "192.168.1.9", "2001:db8::1", "64:ff9b::102:304"])
def test_other_addresses_are_taken_private_ones_included(ip: str) -> None:
    assert may_be_mx(ip)


def test_an_allowed_network_lifts_the_refusal(zones: Zones) -> None:
    zones.mx("local.test", (10, "mx.local.test"))
    zones.a("mx.local.test", "127.0.0.1", "127.9.9.9")

    allowed = (ipaddress.ip_network("127.0.0.0/24"),)

    assert [host.ip for host in hosts_of(zones, "local.test", allowed_networks=allowed)] == ["127.0.0.1"]


def test_only_the_forbidden_addresses_of_a_host_are_left_out(zones: Zones) -> None:
    zones.mx("mixed.test", (10, "mx.mixed.test"))
    zones.a("mx.mixed.test", "127.0.0.1", "192.0.2.4")

    assert [host.ip for host in hosts_of(zones, "mixed.test", allowed_networks=())] == ["192.0.2.4"]


def test_this_host_as_best_mx_is_a_loop(zones: Zones) -> None:
    zones.mx("ours.test", (10, "OUT.example.com"), (20, "backup.test"))
    zones.a("out.example.com", "192.0.2.1")
    zones.a("backup.test", "192.0.2.2")

    found = verdict(zones, "ours.test")

    assert (found.kind, found.enhanced) == (Outcome.FAILED, "5.4.6")


def test_only_better_hosts_than_this_one_are_tried(zones: Zones) -> None:
    zones.mx("ours.test", (10, "best.test"), (20, "out.example.com"), (20, "equal.test"), (30, "worse.test"))
    for number, name in enumerate(("best.test", "out.example.com", "equal.test", "worse.test"), 1):
        zones.a(name, f"192.0.2.{number}")

    assert names(hosts_of(zones, "ours.test")) == ["best.test"]


def test_this_host_is_known_by_its_listening_address_too(zones: Zones) -> None:
    zones.mx("ours.test", (10, "alias.test"))
    zones.a("alias.test", "127.0.0.7")

    found = verdict(zones, "ours.test", own_listeners=(listener("127.0.0.7:2525"),), port=2525)

    assert found.enhanced == "5.4.6"


def test_a_listener_on_all_addresses_is_on_each_of_this_machine(zones: Zones) -> None:
    zones.mx("ours.test", (10, "alias.test"))
    zones.a("alias.test", "127.0.0.9")

    assert verdict(zones, "ours.test", own_listeners=(listener(":25"),)).enhanced == "5.4.6"
    assert is_of_this_machine("127.0.0.1")
    assert not is_of_this_machine("192.0.2.1")


def test_another_port_of_this_machine_is_another_host(zones: Zones) -> None:
    zones.mx("local.test", (10, "mx.local.test"))
    zones.a("mx.local.test", "127.0.0.1")

    assert hosts_of(zones, "local.test", own_listeners=(listener(":25"),), port=2525)


def test_a_domain_that_is_this_host_is_a_loop_without_mx_too(zones: Zones) -> None:
    zones.a("out.example.com", "192.0.2.1")

    assert verdict(zones, "out.example.com").enhanced == "5.4.6"


@pytest.mark.parametrize(("destination", "ip"), [("[192.0.2.7]", "192.0.2.7"), ("[IPv6:2001:db8::7]", "2001:db8::7")])
def test_an_address_literal_is_its_own_host(zones: Zones, destination: str, ip: str) -> None:
    assert hosts_of(zones, destination) == (Host("", ip, 25),)
    assert zones.asked == []


@pytest.mark.parametrize("destination", ["[127.0.0.1]", "[IPv6:::1]", "[IPv6:::ffff:127.0.0.1]"])
def test_an_address_literal_of_loopback_is_refused(zones: Zones, destination: str) -> None:
    assert verdict(zones, destination, allowed_networks=()).enhanced == "5.4.4"


def test_a_broken_literal_is_permanent(zones: Zones) -> None:
    assert verdict(zones, "[not an address]").kind is Outcome.FAILED


def test_an_address_literal_of_our_own_listener_is_a_loop(zones: Zones) -> None:
    assert verdict(zones, "[127.0.0.1]", own_listeners=(listener(":25"),)).enhanced == "5.4.6"


def relay_hosts(zones: Zones, relay: Relay, **changes: Any) -> tuple[Host, ...]:
    async def look() -> tuple[Host, ...]:
        resolver = Resolver((zones.address,), lifetime=0.6, timeout=0.2)
        return await Hosts(settings(**changes), resolver, random.Random(1)).of_relay(relay)

    return asyncio.run(look())


def test_a_smart_host_may_be_on_loopback(zones: Zones) -> None:
    relay = Relay("127.0.0.1", 2600, RelayTls.NONE)

    assert relay_hosts(zones, relay, allowed_networks=()) == (Host("127.0.0.1", "127.0.0.1", 2600),)


def test_a_smart_host_is_found_by_name(zones: Zones) -> None:
    zones.a("relay.test", "192.0.2.1", "192.0.2.2")

    found = relay_hosts(zones, Relay("relay.test", 587, RelayTls.REQUIRE))

    assert {host.ip for host in found} == {"192.0.2.1", "192.0.2.2"}
    assert {(host.name, host.port) for host in found} == {("relay.test", 587)}


def test_a_smart_host_that_is_this_server_keeps_the_mail(zones: Zones) -> None:
    with pytest.raises(Unroutable) as caught:
        relay_hosts(zones, Relay("127.0.0.1", 25, RelayTls.NONE), own_listeners=(listener(":25"),))

    assert caught.value.verdict.kind is Outcome.DEFERRED
    assert "delivery.relay" in caught.value.verdict.text


@pytest.mark.parametrize("fault", [None, Fault.SERVFAIL])
def test_a_smart_host_without_address_keeps_the_mail(zones: Zones, fault: Fault | None) -> None:
    if fault is not None:
        zones.fail("relay.test", fault)

    with pytest.raises(Unroutable) as caught:
        relay_hosts(zones, Relay("relay.test", 25, RelayTls.NONE))

    assert caught.value.verdict.kind is Outcome.DEFERRED
