"""Tables about mail that goes out: [dkim], [domains], [rate_limit], [header_rules], [queue], [delivery], [dns],
[bounce]."""

# ruff: noqa: RUF009 - key() and table() are field specifiers, as dataclasses.field() is.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sendry.config.keys import key, named, named_tables, table, tables
from sendry.config.kinds import (
    BOOLEAN,
    DOMAIN,
    HEADER_NAMES,
    INTERVAL,
    IPS,
    LIMIT,
    MAILBOXES,
    NAMESERVERS,
    NETWORKS,
    OPTIONAL_FILE,
    PORT,
    POSITIVE,
    SELECTOR,
    SENDER,
    SMART_HOST,
    TEXT,
    Choice,
    Optional,
)
from sendry.config.values import (
    DeliveryTls,
    DomainMode,
    HeaderAction,
    HostPort,
    IpAddress,
    Network,
    RelayTls,
)


@dataclass(frozen=True)
class DkimConfig:
    """The short form for one domain; Config.dkim_keys joins it with those of [domains]."""

    enabled: bool = key(BOOLEAN, False, "sign mail of one domain with one key")
    selector: str = key(SELECTOR, "", "selector: the record stands at SELECTOR._domainkey.DOMAIN")
    domain: str = key(DOMAIN, "", "domain of the key; empty = smtp.domain")
    key_file: Path | None = key(OPTIONAL_FILE, "", "private key, PEM: RSA or Ed25519")


@dataclass(frozen=True)
class DkimKeyConfig:
    """One key of a domain. A table that stands there is meant, so it is enabled unless it says otherwise."""

    enabled: bool = key(BOOLEAN, True, "sign with this key")
    selector: str = key(SELECTOR, "", "selector: the record stands at SELECTOR._domainkey.NAME")
    key_file: Path | None = key(OPTIONAL_FILE, "", "private key, PEM: RSA or Ed25519")


@dataclass(frozen=True)
class DomainLimits:
    messages_per_hour: int = key(LIMIT, 0, "messages of this domain an hour, 0 = no limit of its own")
    messages_per_day: int = key(LIMIT, 0, "messages of this domain a day, 0 = no limit of its own")
    recipients_per_message: int = key(LIMIT, 0, "recipients of one message, 0 = no limit of its own")


@dataclass(frozen=True)
class DomainConfig:
    mode: DomainMode = key(
        Choice(DomainMode), "production", "production, sandbox (capture only), redirect, or bcc (copy)"
    )
    redirect_to: tuple[str, ...] = key(MAILBOXES, [], "who gets the mail in mode redirect")
    bcc_to: tuple[str, ...] = key(MAILBOXES, [], "who gets a copy in mode bcc")
    default_from: str = key(SENDER, "", "From when none is given")
    dkim: tuple[DkimKeyConfig, ...] = tables(
        DkimKeyConfig, "one table, or an array of tables for several keys", may_be_one=True
    )
    rate_limit: DomainLimits = table(DomainLimits)
    source_ips: tuple[IpAddress, ...] = key(IPS, [], "addresses to send from; empty = delivery.source_ips")


@dataclass(frozen=True)
class Limits:
    messages_per_hour: int = key(LIMIT, 0, "messages an hour, 0 = unlimited")
    messages_per_day: int = key(LIMIT, 0, "messages a day, 0 = unlimited")


@dataclass(frozen=True)
class RateLimitConfig:
    enabled: bool = key(BOOLEAN, False, "apply the limits below")
    global_: Limits = table(Limits)
    default_domain: Limits = table(Limits)
    default_sender: Limits = table(Limits)
    default_ip: Limits = table(Limits)
    default_api_key: Limits = table(Limits)
    default_recipient_domain: Limits = table(Limits)
    recipient_domains: Mapping[str, Limits] = named(Limits)


@dataclass(frozen=True)
class HeaderRule:
    """`remove` uses `headers`; `replace` and `add` use `header` and `value`."""

    action: HeaderAction | None = key(Optional(Choice(HeaderAction), "none"), "", "remove, replace or add")
    headers: tuple[str, ...] = key(HEADER_NAMES, [], "header names to remove")
    header: str = key(TEXT, "", "header name to replace or add")
    value: str = key(TEXT, "", "its value")


@dataclass(frozen=True)
class HeaderRulesConfig:
    global_: tuple[HeaderRule, ...] = tables(HeaderRule, "rules for all mail, in this order")
    domains: Mapping[str, tuple[HeaderRule, ...]] = named_tables(
        HeaderRule, "rules for mail of one sender domain, after the global ones"
    )


@dataclass(frozen=True)
class QueueConfig:
    workers: int = key(POSITIVE, 4, "delivery lanes; each drives many connections at once")
    retry_interval: timedelta = key(INTERVAL, "5m", "wait after the first failed attempt; doubles each time")
    retry_max_interval: timedelta = key(INTERVAL, "4h", "longest wait between attempts")
    max_retries: int = key(POSITIVE, 5, "attempts in all; 40 makes about 5 days")
    process_interval: timedelta = key(
        INTERVAL, "10s", "sweep for due work; new work starts at once, not at the next sweep"
    )

    @property
    def horizon(self) -> timedelta:
        """How long after acceptance the last attempt comes, jitter left out."""
        total, wait = timedelta(0), self.retry_interval
        for done in range(1, self.max_retries):
            if wait >= self.retry_max_interval:
                return total + (self.max_retries - done) * self.retry_max_interval
            total, wait = total + wait, wait * 2
        return total


@dataclass(frozen=True)
class DestinationConfig:
    tls: DeliveryTls | None = key(
        Optional(Choice(DeliveryTls), "delivery.tls"), "", "none, opportunistic or require; empty = delivery.tls"
    )


@dataclass(frozen=True)
class DeliveryConfig:
    relay: HostPort | None = key(SMART_HOST, "", "smart host `host:port` that takes all mail instead of the MX")
    relay_user: str = key(TEXT, "", "user name at the smart host")
    relay_password: str = key(TEXT, "", "password at the smart host", secret=True)
    relay_tls: RelayTls | None = key(
        Optional(Choice(RelayTls), "delivery.tls"),
        "",
        "none, opportunistic, require, or implicit (port 465); empty = delivery.tls",
    )
    port: int = key(PORT, 25, "port at the MX")
    allowed_networks: tuple[Network, ...] = key(
        NETWORKS, [], "loopback, unspecified, link-local and multicast addresses that may be an MX all the same"
    )
    source_ips: tuple[IpAddress, ...] = key(IPS, [], "addresses to send from; empty = the system chooses")
    tls: DeliveryTls = key(Choice(DeliveryTls), "opportunistic", "none, opportunistic (if offered) or require")
    destinations: Mapping[str, DestinationConfig] = named(DestinationConfig)
    max_connections_per_worker: int = key(POSITIVE, 64, "connections at once of one lane")
    max_connections_per_destination: int = key(POSITIVE, 10, "connections at once to one destination")
    max_messages_per_connection: int = key(POSITIVE, 100, "messages over one connection")
    connect_timeout: timedelta = key(INTERVAL, "30s", "longest wait for a connection")
    command_timeout: timedelta = key(INTERVAL, "5m", "longest wait for a reply (RFC 5321 4.5.3.2)")


@dataclass(frozen=True)
class DnsConfig:
    nameservers: tuple[HostPort, ...] = key(NAMESERVERS, [], "`ip` or `ip:port`; empty = those of the system")


@dataclass(frozen=True)
class BounceConfig:
    domain: str = key(
        DOMAIN, "", "domain of return paths `b+TOKEN@DOMAIN` that tie a bounce to its mail; empty = sender's own"
    )
