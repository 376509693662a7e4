"""uvicorn as the desk, the meter and the runner use it: quiet, deaf to signals, and by TLS as we offer it."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from gatebook.model.errors import ConfigurationError


class Server(uvicorn.Server):
    """Signals are the supervisor's affair."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def prepared(
    app: ASGIApp,
    *,
    http: type[asyncio.Protocol] | str,
    keep_alive_s: int,
    finish_s: int,
    connections: int | None = None,
    head_bytes: int | None = None,
    tls: tuple[str | None, str | None] = (None, None),
    where: str = "",
    says_date: bool = True,
) -> Server:
    """A server for `app`, not started. `tls`: paths of certificate and key; `where` the configuration names them, for ConfigurationError, which is
    raised where they cannot be used. `connections`: so many at once; `finish_s`: what is under way gets so long once it is told to exit."""
    # Its error log would print tracebacks with values in them; what a room has to say, it says by itself.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).disabled = True
    config = uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=says_date,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=finish_s,
        limit_concurrency=connections,
        h11_max_incomplete_event_size=head_bytes,
        ssl_certfile=tls[0],
        ssl_keyfile=tls[1],
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as failure:
        raise ConfigurationError((f"{where}: {failure.strerror or failure}",)) from failure
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return Server(config)
