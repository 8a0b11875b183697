"""Keys whose feature comes in a later release. Set to anything but their default they are refused, never ignored.

The commit that builds a feature removes its line here and the remark in config.example.toml.
"""

from __future__ import annotations

NOT_YET_AVAILABLE = (
    "smtp.tls.acme.*",
    "rate_limit.*",
    "domains.NAME.rate_limit.*",
    "domains.NAME.source_ips",
    "header_rules.*",
    "web.oidc.*",
    "webhooks.allowed_networks",
    "bounce.domain",
    "delivery.source_ips",
    "sandbox.chaos.*",
)


def is_not_yet_available(general_key: str) -> bool:
    """Whether a key has no effect in this release; names the user chose are written NAME."""
    return any(
        general_key.startswith(line.removesuffix("*")) if line.endswith(".*") else general_key == line
        for line in NOT_YET_AVAILABLE
    )
