"""The whole configuration as one value, and the questions the rooms ask of it."""

# ruff: noqa: RUF009 - key() and table() are field specifiers, as dataclasses.field() is.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from sendry.config.faults import Origin
from sendry.config.keys import named, table
from sendry.config.running import (
    ApiConfig,
    DlqConfig,
    LoggingConfig,
    MetricsConfig,
    SandboxConfig,
    ServerConfig,
    StorageConfig,
    WebConfig,
    WebhooksConfig,
)
from sendry.config.sending import (
    BounceConfig,
    DeliveryConfig,
    DkimConfig,
    DkimKeyConfig,
    DnsConfig,
    DomainConfig,
    HeaderRulesConfig,
    QueueConfig,
    RateLimitConfig,
)
from sendry.config.smtp import SmtpConfig
from sendry.config.values import DomainMode, HostPort


@dataclass(frozen=True)
class Config:
    """All settings. Config() holds the defaults of production; load() adds file, variables and sandbox profile."""

    server: ServerConfig = table(ServerConfig)
    smtp: SmtpConfig = table(SmtpConfig)
    dkim: DkimConfig = table(DkimConfig)
    domains: Mapping[str, DomainConfig] = named(DomainConfig)
    rate_limit: RateLimitConfig = table(RateLimitConfig)
    header_rules: HeaderRulesConfig = table(HeaderRulesConfig)
    api: ApiConfig = table(ApiConfig)
    queue: QueueConfig = table(QueueConfig)
    delivery: DeliveryConfig = table(DeliveryConfig)
    dns: DnsConfig = table(DnsConfig)
    bounce: BounceConfig = table(BounceConfig)
    storage: StorageConfig = table(StorageConfig)
    dlq: DlqConfig = table(DlqConfig)
    logging: LoggingConfig = table(LoggingConfig)
    metrics: MetricsConfig = table(MetricsConfig)
    web: WebConfig = table(WebConfig)
    webhooks: WebhooksConfig = table(WebhooksConfig)
    sandbox: SandboxConfig = table(SandboxConfig)

    file: Path | None = field(default=None, compare=False)
    """The file it was read from."""
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)
    """Where each dotted key was set; keys that keep their default are not in it."""

    @property
    def is_sandbox_profile(self) -> bool:
        """No mail domain is set: Sendry captures everything, and nothing leaves this machine."""
        return not self.smtp.domain

    @property
    def is_open(self) -> bool:
        """The sandbox profile, with a listener that others than this machine can reach.

        Then sign-in is needed, and an API key unless api.allow_anonymous: Sendry makes both at the first start.
        """
        return self.is_sandbox_profile and any(not place.is_loopback for place in self.listeners.values())

    @property
    def needs_sign_in(self) -> bool:
        """Whether the panel may be used by signed-in users only."""
        return self.is_open or not self.is_sandbox_profile

    @property
    def allows_anonymous_api(self) -> bool:
        """Whether API requests without a key are answered."""
        if self.api.api_key:
            return False
        is_local = self.api.listen_addr is None or self.api.listen_addr.is_loopback
        return self.api.allow_anonymous or (is_local and not self.is_open)

    @property
    def listeners(self) -> Mapping[str, HostPort]:
        """Where something listens, by the key that says so."""
        all_of_them = {
            "smtp.listen_addr": self.smtp.listen_addr,
            "smtp.submission_addr": self.smtp.submission_addr,
            "smtp.smtps_addr": self.smtp.smtps_addr,
            "api.listen_addr": self.api.listen_addr,
            "metrics.listen_addr": self.metrics.listen_addr if self.metrics.enabled else None,
        }
        return {key: place for key, place in all_of_them.items() if place is not None}

    @property
    def data_dir(self) -> Path:
        """The data folder: keys made at the first start and the spool are kept there, with PostgreSQL too.

        Beside the SQLite file. With PostgreSQL ./data, unless storage.path was set: what it holds is made anew where
        a platform gives every process a fresh disk, and there /var/lib cannot be written.
        """
        if self.storage.url and "storage.path" not in self.origins:
            return Path("data")
        return self.storage.path.parent

    @property
    def default_mode(self) -> DomainMode:
        """The mode of an own domain that [domains] does not name."""
        return DomainMode.SANDBOX if self.is_sandbox_profile else DomainMode.PRODUCTION

    @property
    def own_domains(self) -> tuple[str, ...]:
        """Sender domains that the file names, without repetition: smtp.domain, dkim.domain, [domains]."""
        names = dict.fromkeys((self.smtp.domain, self.dkim.domain, *self.domains))
        return tuple(name for name in names if name)

    @property
    def dkim_keys(self) -> Mapping[str, tuple[DkimKeyConfig, ...]]:
        """The enabled DKIM keys by domain; the short form [dkim] comes first among those of its domain."""
        keys: dict[str, tuple[DkimKeyConfig, ...]] = {}
        if self.dkim.enabled:
            short = DkimKeyConfig(True, self.dkim.selector, self.dkim.key_file)
            keys[self.dkim.domain or self.smtp.domain] = (short,)
        for name, domain in self.domains.items():
            enabled = tuple(key for key in domain.dkim if key.enabled)
            if enabled:
                keys[name] = keys.get(name, ()) + enabled
        return keys
