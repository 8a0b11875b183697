"""Tables about the program itself: [server], [api], [storage], [dlq], [logging], [metrics], [web], [webhooks],
[sandbox]."""

# ruff: noqa: RUF009 - key() and table() are field specifiers, as dataclasses.field() is.
from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sendry.config.keys import computed, key, table
from sendry.config.kinds import (
    BOOLEAN,
    DATABASE_URL,
    DURATION,
    FILE,
    FRACTION,
    HOST_NAME,
    INTERVAL,
    LIMIT,
    LISTENER,
    METRICS_PATH,
    NETWORKS,
    POSITIVE,
    TEXT,
    WEB_URL,
    WORDS,
    Choice,
)
from sendry.config.values import HostPort, LogFormat, LogLevel, Network, parse_domain


def _own_host_name() -> str:
    try:
        return parse_domain(os.uname().nodename)
    except ValueError:
        return "localhost"


@dataclass(frozen=True)
class ServerConfig:
    hostname: str = computed(
        HOST_NAME,
        _own_host_name(),
        "host name of the system",
        "full name of this host: in EHLO, Received and delivery reports",
    )
    shutdown_timeout: timedelta = key(
        DURATION, "30s", "time to finish what is in flight at stop; the rest goes back to the queue"
    )


@dataclass(frozen=True)
class ApiConfig:
    listen_addr: HostPort | None = key(LISTENER, ":8080", "panel and API")
    api_key: str = key(
        TEXT, "", "root key; empty = no authorisation, accepted on a loopback address only", secret=True
    )
    allow_anonymous: bool = key(BOOLEAN, False, "let an empty api_key stand on an address others can reach")
    max_header_bytes: int = key(POSITIVE, 1048576, "largest HTTP header")
    read_timeout: timedelta = key(DURATION, "30s", "longest wait for a request")
    write_timeout: timedelta = key(DURATION, "30s", "longest wait for an answer to be taken")
    idle_timeout: timedelta = key(DURATION, "60s", "how long an idle connection is kept")
    allowed_ips: tuple[Network, ...] = key(NETWORKS, [], "who may use panel and API; empty = everyone")
    trusted_proxies: tuple[Network, ...] = key(NETWORKS, [], "proxies whose X-Forwarded-For counts")
    public_url: str = key(WEB_URL, "", "base of links in mail")


@dataclass(frozen=True)
class RetentionConfig:
    delivered_max_age: timedelta = key(DURATION, 0, "delete delivered messages after this time, 0 = keep")
    cleanup_interval: timedelta = key(INTERVAL, "1h", "how often to look for what can go")
    captured_max_age: timedelta = key(DURATION, "7d", "delete captured mail after this time, 0 = keep")
    captured_max_count: int = key(LIMIT, 5000, "captured mails to keep, the oldest go first, 0 = unlimited")


@dataclass(frozen=True)
class StorageConfig:
    path: Path = key(FILE, "/var/lib/sendry/queue.db", "SQLite file; its folder is the data folder")
    url: str = key(DATABASE_URL, "", "`postgresql://user:password@host/database` instead of SQLite", secret=True)
    retention: RetentionConfig = table(RetentionConfig)


@dataclass(frozen=True)
class DlqConfig:
    enabled: bool = key(BOOLEAN, True, "keep messages that failed for good")
    max_age: timedelta = key(DURATION, 0, "delete them after this time, 0 = keep")
    max_count: int = key(LIMIT, 0, "how many to keep, the oldest go first, 0 = unlimited")
    cleanup_interval: timedelta = key(INTERVAL, "1h", "how often to look for what can go")


@dataclass(frozen=True)
class LoggingConfig:
    level: LogLevel = key(Choice(LogLevel, {"warn": LogLevel.WARNING}), "info", "debug, info, warning or error")
    format: LogFormat = key(Choice(LogFormat), "json", "json or text, to standard output")


@dataclass(frozen=True)
class MetricsConfig:
    enabled: bool = key(BOOLEAN, False, "serve Prometheus metrics")
    listen_addr: HostPort | None = key(LISTENER, ":9090", "where")
    path: str = key(METRICS_PATH, "/metrics", "under which path")
    flush_interval: timedelta = key(INTERVAL, "10s", "how often counters are saved")
    allowed_ips: tuple[Network, ...] = key(NETWORKS, [], "who may read them; empty = everyone")


@dataclass(frozen=True)
class OidcConfig:
    enabled: bool = key(BOOLEAN, False, "sign-in by OpenID Connect beside local users")
    provider: str = key(TEXT, "", "name shown on the sign-in page")
    client_id: str = key(TEXT, "", "client id at the provider")
    client_secret: str = key(TEXT, "", "client secret at the provider", secret=True)
    issuer_url: str = key(WEB_URL, "", "issuer; its discovery document is read from there")
    scopes: tuple[str, ...] = key(WORDS, ["openid", "profile", "email"], "scopes to ask for")
    allowed_groups: tuple[str, ...] = key(WORDS, [], "groups that may sign in; empty = everyone")
    admin_groups: tuple[str, ...] = key(WORDS, [], "groups whose members are admins")


@dataclass(frozen=True)
class WebConfig:
    session_ttl: timedelta = key(INTERVAL, "24h", "how long a sign-in lasts")
    secret_key: str = key(TEXT, "", "signs sessions and links; empty = made on first start and kept", secret=True)
    oidc: OidcConfig = table(OidcConfig)


@dataclass(frozen=True)
class WebhooksConfig:
    allowed_networks: tuple[Network, ...] = key(NETWORKS, [], "private addresses that webhooks may reach")


@dataclass(frozen=True)
class ChaosConfig:
    reject: float = key(FRACTION, 0, "share of recipients refused for good, 0 to 1")
    defer: float = key(FRACTION, 0, "share of recipients put off, 0 to 1")
    drop: float = key(FRACTION, 0, "share of connections cut, 0 to 1")
    delay: timedelta = key(DURATION, 0, "wait before each reply, 0 = none")


@dataclass(frozen=True)
class SandboxConfig:
    chaos: ChaosConfig = table(ChaosConfig)
