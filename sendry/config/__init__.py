"""Settings: one frozen dataclass per TOML table, read from file and environment, every fault told at once.

Level 0: imports nothing of Sendry. Reads the configuration file and the files it names; keeps no state. A default
stands once, in its dataclass (`smtp`, `sending`, `running`). The door is what is imported here.
"""

from __future__ import annotations

from sendry.config.faults import ConfigError, Fault, Origin, OriginKind
from sendry.config.loading import find_config_path, load, loads
from sendry.config.risks import ConfigWarning, warnings
from sendry.config.running import (
    ApiConfig,
    ChaosConfig,
    DlqConfig,
    LoggingConfig,
    MetricsConfig,
    OidcConfig,
    RetentionConfig,
    SandboxConfig,
    ServerConfig,
    StorageConfig,
    WebConfig,
    WebhooksConfig,
)
from sendry.config.sending import (
    BounceConfig,
    DeliveryConfig,
    DestinationConfig,
    DkimConfig,
    DkimKeyConfig,
    DnsConfig,
    DomainConfig,
    DomainLimits,
    HeaderRule,
    HeaderRulesConfig,
    Limits,
    QueueConfig,
    RateLimitConfig,
)
from sendry.config.smtp import AcmeConfig, AuthConfig, SmtpConfig, TlsConfig
from sendry.config.tree import Config
from sendry.config.values import (
    BareNewline,
    DeliveryTls,
    DomainMode,
    HeaderAction,
    HostPort,
    LogFormat,
    LogLevel,
    RelayTls,
)

__all__ = [
    "AcmeConfig",
    "ApiConfig",
    "AuthConfig",
    "BareNewline",
    "BounceConfig",
    "ChaosConfig",
    "Config",
    "ConfigError",
    "ConfigWarning",
    "DeliveryConfig",
    "DeliveryTls",
    "DestinationConfig",
    "DkimConfig",
    "DkimKeyConfig",
    "DlqConfig",
    "DnsConfig",
    "DomainConfig",
    "DomainLimits",
    "DomainMode",
    "Fault",
    "HeaderAction",
    "HeaderRule",
    "HeaderRulesConfig",
    "HostPort",
    "Limits",
    "LogFormat",
    "LogLevel",
    "LoggingConfig",
    "MetricsConfig",
    "OidcConfig",
    "Origin",
    "OriginKind",
    "QueueConfig",
    "RateLimitConfig",
    "RelayTls",
    "RetentionConfig",
    "SandboxConfig",
    "ServerConfig",
    "SmtpConfig",
    "StorageConfig",
    "TlsConfig",
    "WebConfig",
    "WebhooksConfig",
    "find_config_path",
    "load",
    "loads",
    "warnings",
]
