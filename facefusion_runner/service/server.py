"""Runs the service until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from facefusion_runner.cache.task_id import new_task_id
from facefusion_runner.errors import ConfigError, RunnerError
from facefusion_runner.loading import Loaded
from facefusion_runner.service import logs
from facefusion_runner.service.app import create_app
from facefusion_runner.service.context import Context
from facefusion_runner.service.keys import Keys
from facefusion_runner.settings import ServiceSettings
from facefusion_runner.tasks.files import TaskFiles
from facefusion_runner.tasks.store import TaskStore

_HEADER_SECONDS: Final = 20.0
"""The longest a client may take to say what it wants."""
_LONGEST_HEAD: Final = 64 << 10
_CONNECTIONS: Final = 1000
_CLOSING_SECONDS: Final = 2
"""For answers that are being sent when everything else has ended."""

_log = structlog.get_logger(__name__)


def serve(loaded: Loaded[ServiceSettings]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError or StorageError for what keeps it from starting."""
    settings = loaded.settings
    level = "info" if loaded.origins["log_level"].level == "default" else settings.log_level
    logs.configure(settings.log_format, level)
    with TaskFiles(settings.data_root) as files, _listening(settings) as sockets:
        store = TaskStore(files.store)
        try:
            app = create_app(loaded, files, store)
            asyncio.run(_serve(app, sockets, settings))
        finally:
            store.close()


async def _serve(app: Any, sockets: list[socket.socket], settings: ServiceSettings) -> None:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    def end() -> None:
        if ending:
            # Asked twice: at once.
            server.should_exit = True
            return
        ending.add(asyncio.create_task(_end(app, server, settings.shutdown_grace_seconds)))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    host, port = sockets[0].getsockname()[:2]
    _log.info("listening", url=f"http://{host if ':' not in host else f'[{host}]'}:{port}")
    await server.serve(sockets)
    for task in ending:
        task.cancel()
    if not server.started:
        raise RunnerError("the service could not start; its log says why")


async def _end(app: Any, server: uvicorn.Server, grace: float) -> None:
    """Takes no further task, gives the running ones their time, then ends the server."""
    context: Context | None = getattr(app.state, "context", None)
    if context is not None:
        _log.info("shutting down", grace=grace, running=context.supervisor.busy())
        context.draining = True
        context.live.changed_all()
        await context.supervisor.stop(grace)
    server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled in `_serve`."""
        yield


class _Protocol(H11Protocol):
    """Lets go of clients that open a connection and say nothing, or say it a byte a minute."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        body = json.dumps(
            {
                "error": {"code": "bad_request", "message": "this is no HTTP request", "detail": None},
                "request_id": (request_id := new_task_id()),
            }
        ).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
            "Connection": "close",
        }
        answer = h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request")
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """The clock runs while it is the client's turn: before its first request, between two, and while it
        still sends the body of one that is answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._patience is None:
            self._patience = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _stop_watching(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


@contextlib.contextmanager
def _listening(settings: ServiceSettings) -> Iterator[list[socket.socket]]:
    host = settings.host
    if host == "auto":
        host = "0.0.0.0" if len(Keys.of(settings)) else "127.0.0.1"
    try:
        found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {host} port {settings.port}: {error}") from None
    with listener:
        yield [listener]
