"""Settings that work and may still hurt: what `sendry config validate` warns of.

Looks at the files the settings name (whether they are there, who may read them) and changes nothing. Secrets never
appear in a warning.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sendry.config.faults import DEFAULT, Origin, OriginKind, dotted
from sendry.config.tree import Config
from sendry.config.values import DeliveryTls, DomainMode, RelayTls, format_duration

_PLACEHOLDER = re.compile(
    r"change[ _-]?(me|this|it)|replace[ _-]?(me|this)|your[ _-]?(api)?[ _-]?(key|password|secret|token)|placeholder"
    r"|^(password|passwd|secret|admin|test|example|default|letmein|qwerty|12345\d*|x+|\.+|<.*>|todo)$",
    re.IGNORECASE,
)
_HASHED = "$argon2"


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """A risky setting: `message` says what may happen and what to do."""

    key: str
    message: str
    origin: Origin = DEFAULT

    def __str__(self) -> str:
        place = "" if self.origin.kind in (OriginKind.DEFAULT, OriginKind.PROFILE) else f"{self.origin}: "
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


def warnings(config: Config) -> list[ConfigWarning]:
    """All risky settings, those of this machine's files included; [] if there is nothing to say."""
    found = [
        *_open_doors(config),
        *_tls(config),
        *_secrets(config),
        *_sending(config),
        *_files(config),
    ]
    return [ConfigWarning(key, message, config.origins.get(key, DEFAULT)) for key, message in found]


_Found = Iterator[tuple[str, str]]


def _open_doors(config: Config) -> _Found:
    place = config.api.listen_addr
    if place is not None and not place.is_loopback and config.allows_anonymous_api:
        yield "api.allow_anonymous", f"whoever can reach {place} may send mail and read it; set api.api_key"
    for network in config.smtp.trusted_networks:
        if not network.is_private and network.num_addresses > 2**16:
            yield "smtp.trusted_networks", f"{network} may relay without AUTH: that is an open relay"
    if config.is_open:
        reached = ", ".join(key for key, place in config.listeners.items() if not place.is_loopback)
        yield "smtp.domain", f"not set, so this is the sandbox profile, but others can reach it ({reached})"


def _tls(config: Config) -> _Found:
    auth, tls = config.smtp.auth, config.smtp.tls
    listens = [place for key, place in config.listeners.items() if key.startswith("smtp.")]
    is_reachable = any(not place.is_loopback for place in listens)
    if auth.allow_plaintext and is_reachable:
        yield "smtp.auth.allow_plaintext", "passwords cross the network in clear text; use TLS and set it to false"
    has_certificate = tls.cert_file is not None or tls.acme.enabled
    if is_reachable and not has_certificate and not config.is_sandbox_profile and not auth.allow_plaintext:
        yield "smtp.tls.cert_file", "without a certificate there is no TLS, and AUTH is offered on loopback only"
    delivery = config.delivery
    relay_tls = delivery.relay_tls or RelayTls(delivery.tls.value)
    if delivery.relay and delivery.relay_password and not delivery.relay.is_loopback:
        if relay_tls is RelayTls.NONE:
            yield "delivery.relay_tls", "the password goes to the smart host in clear text; use require"
        elif relay_tls is RelayTls.OPPORTUNISTIC:
            yield "delivery.relay_tls", "the password may go to the smart host in clear text; use require"
    if delivery.tls is DeliveryTls.NONE and not delivery.relay and not config.is_sandbox_profile:
        yield "delivery.tls", "mail leaves in clear text; opportunistic uses TLS where the receiver offers it"


def _secrets(config: Config) -> _Found:
    clear = [name for name, secret in config.smtp.auth.users.items() if not secret.startswith(_HASHED)]
    for name in clear:
        key = dotted(("smtp", "auth", "users", name))
        yield key, "the password stands in clear text; put a hash there (sendry hash-password)"
    for key, secret in secrets_of(config).items():
        if secret and _PLACEHOLDER.search(_password_of(secret) if key == "storage.url" else secret):
            yield key, "this looks like a placeholder that everyone knows; put a secret of your own there"
    if config.web.secret_key and len(config.web.secret_key) < 32:
        yield "web.secret_key", "shorter than 32 characters: too easy to guess"


def secrets_of(config: Config) -> Mapping[str, str]:
    """Every secret by its dotted key, empty ones included."""
    return {
        **{dotted(("smtp", "auth", "users", name)): value for name, value in config.smtp.auth.users.items()},
        "api.api_key": config.api.api_key,
        "delivery.relay_password": config.delivery.relay_password,
        "storage.url": config.storage.url,
        "web.secret_key": config.web.secret_key,
        "web.oidc.client_secret": config.web.oidc.client_secret,
    }


def _password_of(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _sending(config: Config) -> _Found:
    if not config.is_sandbox_profile and config.queue.horizon < timedelta(days=1):
        horizon = format_duration(timedelta(minutes=config.queue.horizon // timedelta(minutes=1)))
        yield "queue.max_retries", f"mail is given up after {horizon}; a receiver may be down for days, 40 is better"
    if not config.is_sandbox_profile and "." not in config.server.hostname:
        yield "server.hostname", f"{config.server.hostname} is no full host name; many receivers refuse it in EHLO"
    for name, domain in config.domains.items():
        for mode, key, addresses in (
            (DomainMode.REDIRECT, "redirect_to", domain.redirect_to),
            (DomainMode.BCC, "bcc_to", domain.bcc_to),
        ):
            if addresses and domain.mode is not mode:
                yield dotted(("domains", name, key)), f"has no effect in mode {domain.mode}"
    if not config.dkim.enabled and (config.dkim.selector or config.dkim.key_file):
        yield "dkim.enabled", "is false, so mail is not signed with the key given beside it"


def _files(config: Config) -> _Found:
    named: dict[str, Path | None] = {
        "smtp.tls.cert_file": config.smtp.tls.cert_file,
        "smtp.tls.key_file": config.smtp.tls.key_file,
    }
    for domain, keys in config.dkim_keys.items():
        for key in keys:
            named[f"DKIM key {key.selector} of {domain}"] = key.key_file
    for what, path in named.items():
        if path is None:
            continue
        if not path.exists():
            yield what, f"there is no file {path}"
        elif not os.access(path, os.R_OK):
            yield what, f"{path} cannot be read by this user"
        elif what != "smtp.tls.cert_file" and _is_readable_by_all(path):
            yield what, f"everyone on this machine can read {path}; use chmod 640 or 600"
    holds_secrets = any(
        secret and config.origins.get(key, DEFAULT).kind is OriginKind.FILE
        for key, secret in secrets_of(config).items()
        if not secret.startswith(_HASHED)
    )
    if config.file is not None and holds_secrets and _is_readable_by_all(config.file):
        yield "", f"everyone on this machine can read the secrets in {config.file}; use chmod 640 or 600"


def _is_readable_by_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
