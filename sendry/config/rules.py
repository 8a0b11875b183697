"""Rules between keys: settings that are fine one by one and wrong together.

Pure. Promise: a rule stays silent where one of its keys is already at fault, so no fault is the echo of another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sendry.config.faults import DEFAULT, Fault, Origin, dotted
from sendry.config.positions import Path
from sendry.config.sending import HeaderRule
from sendry.config.tree import Config
from sendry.config.values import DomainMode, HeaderAction


class Check:
    """Takes the faults that the rules find, and puts them where the key, or the nearest table, stands."""

    def __init__(self, places: Mapping[str, Origin], faulty: Collection[str], file: Origin = DEFAULT) -> None:
        self.faults: list[Fault] = []
        self._places, self._faulty, self._file = places, faulty, file

    def fault(self, path: Path, message: str, *related: Path) -> None:
        """Note a fault at a key; `related` are the other keys the rule looked at."""
        if not any(self._is_faulty(looked_at) for looked_at in (path, *related)):
            self.faults.append(Fault(dotted(path), message, self._origin(path)))

    def _is_faulty(self, path: Path) -> bool:
        return any(dotted(path[:length]) in self._faulty for length in range(1, len(path) + 1))

    def _origin(self, path: Path) -> Origin:
        for length in range(len(path), 0, -1):
            found = self._places.get(dotted(path[:length]))
            if found is not None:
                return found
        return self._file


def check_rules(config: Config, check: Check) -> None:
    for rule in (_certificate, _acme, _accept_any, _short_dkim, _domains, _dkim_selectors):
        rule(config, check)
    for rule in (_api_key, _listeners, _queue, _relay, _metrics, _oidc, _header_rules, _chaos):
        rule(config, check)


def _certificate(config: Config, check: Check) -> None:
    tls = config.smtp.tls
    pair: tuple[Path, Path] = (("smtp", "tls", "cert_file"), ("smtp", "tls", "key_file"))
    if tls.cert_file and not tls.key_file:
        check.fault(pair[0], "smtp.tls.key_file is missing; certificate and key are given together", pair[1])
    if tls.key_file and not tls.cert_file:
        check.fault(pair[1], "smtp.tls.cert_file is missing; certificate and key are given together", pair[0])


def _acme(config: Config, check: Check) -> None:
    tls, table = config.smtp.tls, ("smtp", "tls", "acme")
    if not tls.acme.enabled:
        return
    if not tls.acme.email:
        check.fault((*table, "email"), "must be given where acme.enabled is true")
    if not tls.acme.domains:
        check.fault((*table, "domains"), "must name at least one host where acme.enabled is true")
    if tls.cert_file:
        message = "certificates come from files or from ACME; remove smtp.tls.cert_file or this"
        check.fault((*table, "enabled"), message, ("smtp", "tls", "cert_file"))


def _accept_any(config: Config, check: Check) -> None:
    if not config.smtp.auth.accept_any:
        return
    for name in config.own_domains:
        domain = config.domains.get(name)
        mode = config.default_mode if domain is None else domain.mode
        if mode is not DomainMode.SANDBOX:
            message = f"is allowed only if every domain is in mode sandbox, and {name} is in mode {mode}"
            check.fault(("smtp", "auth", "accept_any"), message, ("domains", name, "mode"), ("smtp", "domain"))
            return


def _short_dkim(config: Config, check: Check) -> None:
    if not config.dkim.enabled:
        return
    for name, value in (("selector", config.dkim.selector), ("key_file", config.dkim.key_file)):
        if not value:
            check.fault(("dkim", name), "must be given where dkim.enabled is true")
    if not config.dkim.domain and not config.smtp.domain:
        check.fault(("dkim", "domain"), "must be given where smtp.domain is not set", ("smtp", "domain"))


def _domains(config: Config, check: Check) -> None:
    for name, domain in config.domains.items():
        at: Path = ("domains", name)
        for mode, key, addresses in (
            (DomainMode.REDIRECT, "redirect_to", domain.redirect_to),
            (DomainMode.BCC, "bcc_to", domain.bcc_to),
        ):
            if domain.mode is mode and not addresses:
                check.fault((*at, key), f"mode {mode} needs at least one address here", (*at, "mode"))
        if domain.default_from and not _is_own(domain.default_from.rpartition("@")[2], config):
            message = f"{domain.default_from} belongs to none of the domains configured here"
            check.fault((*at, "default_from"), message, ("smtp", "domain"))


def _is_own(name: str, config: Config) -> bool:
    return any(name == own or name.endswith(f".{own}") for own in config.own_domains)


def _dkim_selectors(config: Config, check: Check) -> None:
    for name, domain in config.domains.items():
        short_form = config.dkim.enabled and (config.dkim.domain or config.smtp.domain) == name
        seen = {config.dkim.selector} if short_form else set()
        for index, key in enumerate(domain.dkim):
            at: Path = ("domains", name, "dkim")
            # A single table has no number in the file.
            at = (*at, index) if len(domain.dkim) > 1 else at
            if not key.enabled:
                continue
            for attribute, value in (("selector", key.selector), ("key_file", key.key_file)):
                if not value:
                    check.fault((*at, attribute), "must be given, or enabled = false")
            if key.selector and key.selector in seen:
                check.fault((*at, "selector"), f"{key.selector} is the selector of another key of {name}")
            seen.add(key.selector)


def _api_key(config: Config, check: Check) -> None:
    place = config.api.listen_addr
    if config.api.api_key or config.api.allow_anonymous or place is None or place.is_loopback:
        return
    # The sandbox profile opened to others makes its own key at the first start.
    if config.is_sandbox_profile:
        return
    message = (
        f"must be given, as api.listen_addr ({place}) can be reached by others; "
        "or listen on 127.0.0.1, or set api.allow_anonymous = true"
    )
    related: tuple[Path, ...] = (("api", "listen_addr"), ("api", "allow_anonymous"), ("smtp", "domain"))
    check.fault(("api", "api_key"), message, *related)


def _listeners(config: Config, check: Check) -> None:
    taken: dict[int, tuple[str, str]] = {}
    for key, place in config.listeners.items():
        if not place.port:
            continue
        if place.port in taken:
            other, host = taken[place.port]
            if host == place.host or "" in (host, place.host):
                path: Path = tuple(key.split("."))
                check.fault(path, f"{place} is taken by {other}", tuple(other.split(".")))
        taken.setdefault(place.port, (key, place.host))


def _queue(config: Config, check: Check) -> None:
    base, cap = config.queue.retry_interval, config.queue.retry_max_interval
    if cap < base:
        keys: tuple[Path, Path] = (("queue", "retry_max_interval"), ("queue", "retry_interval"))
        check.fault(keys[0], "must be at least as long as queue.retry_interval", keys[1])


def _relay(config: Config, check: Check) -> None:
    delivery = config.delivery
    if not delivery.relay:
        for key in ("relay_user", "relay_password", "relay_tls"):
            if getattr(delivery, key):
                check.fault(("delivery", key), "has no effect without delivery.relay", ("delivery", "relay"))
        return
    for key, other in (("relay_user", "relay_password"), ("relay_password", "relay_user")):
        if getattr(delivery, key) and not getattr(delivery, other):
            check.fault(("delivery", key), f"needs delivery.{other} beside it", ("delivery", other))


def _metrics(config: Config, check: Check) -> None:
    if config.metrics.enabled and config.metrics.listen_addr is None:
        message = "must be given where metrics.enabled is true"
        check.fault(("metrics", "listen_addr"), message, ("metrics", "enabled"))


def _oidc(config: Config, check: Check) -> None:
    if not config.web.oidc.enabled:
        return
    for key in ("client_id", "client_secret", "issuer_url"):
        if not getattr(config.web.oidc, key):
            check.fault(("web", "oidc", key), "must be given where web.oidc.enabled is true")


def _header_rules(config: Config, check: Check) -> None:
    for index, rule in enumerate(config.header_rules.global_):
        _header_rule(rule, ("header_rules", "global", index), check)
    for name, rules in config.header_rules.domains.items():
        for index, rule in enumerate(rules):
            _header_rule(rule, ("header_rules", "domains", name, index), check)


def _header_rule(rule: HeaderRule, at: Path, check: Check) -> None:
    removes = rule.action is HeaderAction.REMOVE
    if rule.action is None:
        check.fault((*at, "action"), "must be given: remove, replace or add")
    elif removes and not rule.headers:
        check.fault((*at, "headers"), "must name at least one header to remove", (*at, "action"))
    elif removes and (rule.header or rule.value):
        check.fault((*at, "action"), "remove takes headers = [...], not header and value")
    elif not removes and not rule.header:
        check.fault((*at, "header"), f"must name the header to {rule.action}", (*at, "action"))
    elif not removes and rule.headers:
        check.fault((*at, "action"), f"{rule.action} takes header and value, not headers")


def _chaos(config: Config, check: Check) -> None:
    chaos = config.sandbox.chaos
    if chaos.reject + chaos.defer + chaos.drop > 1:
        check.fault(("sandbox", "chaos"), "reject, defer and drop may not add up to more than 1")
