"""The HTTP servers: waitress for panel and API, and a small one for the metrics page.

Promise: a listener that cannot bind says which setting and why; at the end what is being answered is finished.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from waitress.server import create_server

from sendry.config.tree import Config
from sendry.config.values import HostPort

log = logging.getLogger(__name__)

THREADS: Final = 12
_SPARE: Final = 4_194_304  # above what the API refuses in its own words: waitress can only cut off

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ListenError(Exception):
    """An address cannot be listened on. The text names the setting, the address and the reason."""


class HttpServer:
    """One waitress server on a thread of its own."""

    def __init__(self, app: WsgiApp, key: str, place: HostPort, config: Config, *, threads: int = THREADS) -> None:
        self._key = key
        self._body = largest_body(config)
        try:
            self._server = create_server(
                app,
                host=place.host or "*",
                port=place.port,
                threads=threads,
                ident=None,
                asyncore_use_poll=True,  # select() dies at file descriptor 1024
                connection_limit=1000,
                backlog=512,
                channel_timeout=max(1, int(config.api.idle_timeout.total_seconds())),
                max_request_header_size=config.api.max_header_bytes,
                max_request_body_size=self._body,
                clear_untrusted_proxy_headers=False,  # sendry.access.keys decides who is believed
            )
        except (OSError, ValueError) as error:
            raise ListenError(f"{key} = {str(place)!r}: cannot listen there: {error}") from error
        self._thread = threading.Thread(target=self._run, name=f"http {key}", daemon=True)

    @property
    def address(self) -> HostPort:
        """Where it listens; the port is the real one when 0 was asked for."""
        # One server for one socket, another class for several (IPv4 and IPv6 together); the stubs know neither's.
        server: Any = self._server
        several: list[tuple[str, int]] = getattr(server, "effective_listen", [])
        host, port = several[0] if several else (server.effective_host, server.effective_port)
        return HostPort(str(host), int(port))

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server.run()
        except Exception:
            log.exception("http server ended", extra={"setting": self._key})

    def stop(self) -> None:
        """Accept no more, finish what is being answered (5 seconds at most), close."""
        dispatcher = self._server.task_dispatcher
        dispatcher.shutdown(cancel_pending=False, timeout=5)
        with contextlib.suppress(OSError):
            self._server.close()
        self._thread.join(timeout=2)


def largest_body(config: Config) -> int:
    """Octets of the largest request: a message of full size in base64, and what stands around it."""
    return config.smtp.max_message_bytes * 4 // 3 + _SPARE
