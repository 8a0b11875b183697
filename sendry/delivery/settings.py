"""What delivery needs of the configuration, in the units it works with. Defaults stand in sendry.config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sendry.config.tree import Config
from sendry.config.values import DeliveryTls, HostPort, Network, RelayTls

DOT_TIMEOUT: Final = 600.0
"""Seconds to wait for the reply to the final dot (RFC 5321 section 4.5.3.2.6)."""

IDLE_KEPT: Final = 30.0
"""Seconds a connection is kept without work."""


@dataclass(frozen=True, slots=True)
class Relay:
    """The smart host. `user` is "" when it wants no AUTH."""

    host: str
    port: int
    tls: RelayTls
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are seconds unless they are timedeltas; `own_listeners` are the SMTP ports of this installation."""

    hostname: str
    relay: Relay | None
    port: int
    allowed_networks: tuple[Network, ...]
    own_listeners: tuple[HostPort, ...]
    tls: DeliveryTls
    tls_of_destination: Mapping[str, DeliveryTls]
    connections: int
    connections_per_destination: int
    messages_per_connection: int
    connect_timeout: float
    command_timeout: float
    dot_timeout: float
    idle_kept: float
    retry_interval: timedelta
    retry_max_interval: timedelta
    max_retries: int
    horizon: timedelta
    process_interval: float

    def tls_for(self, destination: str) -> DeliveryTls:
        """The TLS policy for a destination domain."""
        return self.tls_of_destination.get(destination, self.tls)

    @classmethod
    def of(cls, config: Config) -> Settings:
        """The settings in a configuration."""
        delivery, queue, smtp = config.delivery, config.queue, config.smtp
        relay = None
        if delivery.relay is not None:
            relay = Relay(
                delivery.relay.host,
                delivery.relay.port,
                delivery.relay_tls or RelayTls(delivery.tls.value),
                delivery.relay_user,
                delivery.relay_password,
            )
        listeners = (smtp.listen_addr, smtp.submission_addr, smtp.smtps_addr)
        return cls(
            hostname=config.server.hostname,
            relay=relay,
            port=delivery.port,
            allowed_networks=delivery.allowed_networks,
            own_listeners=tuple(place for place in listeners if place is not None),
            tls=delivery.tls,
            tls_of_destination={
                name: table.tls for name, table in delivery.destinations.items() if table.tls is not None
            },
            connections=queue.workers * delivery.max_connections_per_worker,
            connections_per_destination=delivery.max_connections_per_destination,
            messages_per_connection=delivery.max_messages_per_connection,
            connect_timeout=delivery.connect_timeout.total_seconds(),
            command_timeout=delivery.command_timeout.total_seconds(),
            dot_timeout=DOT_TIMEOUT,
            idle_kept=IDLE_KEPT,
            retry_interval=queue.retry_interval,
            retry_max_interval=queue.retry_max_interval,
            max_retries=queue.max_retries,
            horizon=queue.horizon,
            process_interval=queue.process_interval.total_seconds(),
        )
