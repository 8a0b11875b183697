"""Table [smtp]: listeners, who may come in, limits, certificates."""

# ruff: noqa: RUF009 - key() and table() are field specifiers, as dataclasses.field() is.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sendry.config.keys import key, named_secrets, table
from sendry.config.kinds import (
    BOOLEAN,
    COUNT,
    DOMAIN,
    DOMAINS,
    DURATION,
    FILE,
    INTERVAL,
    LISTENER,
    NETWORKS,
    OPTIONAL_FILE,
    POSITIVE,
    SENDER,
    TEXT,
    WEB_URL,
    Choice,
)
from sendry.config.values import BareNewline, HostPort, Network


@dataclass(frozen=True)
class AuthConfig:
    required: bool = key(
        BOOLEAN, False, "require AUTH on every listener; submission and SMTPS always do, trusted networks aside"
    )
    users: Mapping[str, str] = named_secrets(TEXT, "name = password or argon2 hash (`sendry hash-password`)")
    allow_plaintext: bool = key(BOOLEAN, False, "offer AUTH before TLS (loopback always may)")
    accept_any: bool = key(BOOLEAN, False, "accept any name and password; only if every domain is in sandbox mode")
    max_failures: int = key(COUNT, 5, "failed tries before an IP address or user name is blocked, 0 = never")
    block_duration: timedelta = key(INTERVAL, "15m", "how long a block lasts")
    failure_window: timedelta = key(INTERVAL, "5m", "failures older than this are forgotten")


@dataclass(frozen=True)
class AcmeConfig:
    enabled: bool = key(BOOLEAN, False, "get certificates by ACME, http-01")
    email: str = key(SENDER, "", "contact of the ACME account")
    domains: tuple[str, ...] = key(DOMAINS, [], "host names to get certificates for")
    cache_dir: Path = key(FILE, "/var/lib/sendry/certs", "where certificates and the account key are kept")
    on_demand: bool = key(BOOLEAN, False, "open port 80 only while `sendry tls renew` runs")
    directory_url: str = key(
        WEB_URL, "https://acme-v02.api.letsencrypt.org/directory", "directory of the ACME server"
    )


@dataclass(frozen=True)
class TlsConfig:
    cert_file: Path | None = key(OPTIONAL_FILE, "", "certificate with its chain, PEM; read again when it changes")
    key_file: Path | None = key(OPTIONAL_FILE, "", "private key of the certificate, PEM")
    acme: AcmeConfig = table(AcmeConfig)


@dataclass(frozen=True)
class SmtpConfig:
    listen_addr: HostPort | None = key(LISTENER, ":25", "relay and inbound mail")
    submission_addr: HostPort | None = key(LISTENER, ":587", "submission by users and programs")
    smtps_addr: HostPort | None = key(LISTENER, ":465", "submission with implicit TLS")
    domain: str = key(DOMAIN, "", "mail domain; required, without it the sandbox profile runs")
    max_message_bytes: int = key(POSITIVE, 10485760, "largest message; above it 552 5.3.4")
    max_recipients: int = key(POSITIVE, 100, "recipients of one message; above it 452 4.5.3")
    allowed_ips: tuple[Network, ...] = key(NETWORKS, [], "who may connect at all; empty = everyone")
    trusted_networks: tuple[Network, ...] = key(NETWORKS, ["127.0.0.0/8", "::1/128"], "who may relay without AUTH")
    max_connections: int = key(POSITIVE, 1000, "connections at once; above it 421")
    max_connections_per_ip: int = key(POSITIVE, 50, "connections at once from one IP address; above it 421")
    read_timeout: timedelta = key(DURATION, "60s", "longest wait for a command; then 421 4.4.2")
    write_timeout: timedelta = key(DURATION, "60s", "longest wait for a reply to be taken")
    bare_newline: BareNewline = key(
        Choice(BareNewline), "reject", "a line feed without carriage return: reject, or normalize to CRLF"
    )
    auth: AuthConfig = table(AuthConfig)
    tls: TlsConfig = table(TlsConfig)
