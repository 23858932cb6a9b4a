"""What every request gets: an id, a line in the log, a place in the metrics, and headers for browsers."""

from __future__ import annotations

import re
import time
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facefusion_runner.cache.task_id import new_task_id
from facefusion_runner.service.errors import defect
from facefusion_runner.service.metrics import Metrics

_log = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestLog:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        request_id = _given_id(scope) or new_task_id()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            # Here, so that a defect's answer has an id and a place in the metrics like any other.
            response = defect(Request(scope), error)
            if status:
                # Only a closed connection still tells the client that the answer is not whole.
                raise
            await response(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "")
            seconds = time.monotonic() - started
            self._metrics.requested(scope["method"], route, status, seconds)
            if route not in _QUIET:
                _log.info(
                    "request",
                    method=scope["method"],
                    route=route or "none",
                    status=status,
                    ms=round(seconds * 1000, 1),
                    request_id=request_id,
                )


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return None
