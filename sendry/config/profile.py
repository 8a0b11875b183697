"""The sandbox profile: what Sendry is while no smtp.domain is set. A catcher on loopback from which nothing leaves.

Promise: the profile only fills in what nobody set; a value from file or environment always wins.
"""

from __future__ import annotations

from sendry.config.faults import Origin, OriginKind
from sendry.config.positions import Path
from sendry.config.sources import Sources

_ORIGIN = Origin(OriginKind.PROFILE)

_PROFILE: dict[Path, object] = {
    ("smtp", "listen_addr"): "127.0.0.1:1025",
    ("smtp", "submission_addr"): "",
    ("smtp", "smtps_addr"): "",
    ("smtp", "bare_newline"): "normalize",
    ("api", "listen_addr"): "127.0.0.1:8080",
    ("metrics", "listen_addr"): "127.0.0.1:9090",
    ("storage", "path"): "data/queue.db",
}


def lay_profile(sources: Sources) -> None:
    """Fill in the profile's defaults, if the sources set no smtp.domain."""
    if sources.table_at(("smtp",)).get("domain", "") != "":
        return
    for path, value in _PROFILE.items():
        _fill(sources, path, value)
    domains = sources.table_at(("domains",))
    for name, domain in domains.items():
        if isinstance(domain, dict):
            _fill(sources, ("domains", name, "mode"), "sandbox")
    # Where someone set a domain to send, any credentials accepted would make an open relay of it.
    if all(isinstance(domain, dict) and domain.get("mode") == "sandbox" for domain in domains.values()):
        _fill(sources, ("smtp", "auth", "accept_any"), True)


def _fill(sources: Sources, path: Path, value: object) -> None:
    if not sources.has(path):
        sources.lay(path, value, _ORIGIN)
