"""How failures become answers: one envelope, one status for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from facefusion_runner.errors import (
    DeviceError,
    InputError,
    MediaError,
    PolicyError,
    RunnerError,
    StorageError,
)
from facefusion_runner.service import examples, schemas
from facefusion_runner.tasks.store import IdempotencyConflict, QueueFull, TaskExists

_log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 30
"""What a client is told to wait where the service does not know better."""

_STATUS: Final[tuple[tuple[type[RunnerError], int], ...]] = (
    (TaskExists, 409),
    (IdempotencyConflict, 409),
    (QueueFull, 429),
    (PolicyError, 422),
    (StorageError, 507),
    (DeviceError, 503),
    (InputError, 422),
    (MediaError, 422),
)
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    416: "range_not_satisfiable",
}


class ApiError(Exception):
    """A failure that only HTTP knows."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def not_found(task_id: str) -> ApiError:
    return ApiError(404, "not_found", f"there is no task {task_id}")


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of a route, for OpenAPI."""
    # Not as a "model": FastAPI would say that they come in the kind of the route's successes.
    reference = {"$ref": f"#/components/schemas/{schemas.Error.__name__}"}
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {"application/json": {"schema": reference, "example": examples.error(status)}},
        }
        for status in statuses
    }


_MEANINGS: Final = {
    400: "The request is no well-formed HTTP or multipart.",
    401: "An API key is needed, or the one given is not known.",
    403: "The link is not, or no longer, good; or the page of another site asks a service without keys.",
    404: "There is no such task, or it is another key's.",
    408: "The upload came too slowly.",
    409: "There is such a task already, or the task is in another state.",
    413: "More than is taken.",
    415: "Not of the kind that is taken.",
    416: "The result has no such range.",
    422: "What was sent cannot be used; the code says why: bad_input, no_face, bad_configuration, refused, …",
    429: "Too many tasks wait; try again after Retry-After seconds.",
    503: "The service is shutting down, or its device cannot be used.",
    507: "The disk is too full, or would be.",
}


def install(app: FastAPI) -> None:
    """Every failure of the app ends in the envelope; `requests.RequestLog` sees to defects."""

    async def api_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return _answer(request, error.status, error.code, str(error), error.detail, error.headers)

    async def runner_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RunnerError)
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 422)
        headers = {"Retry-After": str(RETRY_SECONDS)} if status in (429, 503, 507) else {}
        message = " ".join(str(error).split())
        return _answer(request, status, error.code, message, getattr(error, "detail", None), headers)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "failed")
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request))
        return _answer(request, error.status_code, code, str(error.detail), None, headers)

    async def validation_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        detail = [{"where": list(each["loc"]), "message": each["msg"]} for each in error.errors()]
        return _answer(request, 422, "bad_request", f"{where}: {first['msg']}", detail, {})

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(RunnerError, runner_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, validation_error)


def defect(request: Request, error: Exception) -> JSONResponse:
    """Of what nobody foresaw."""
    _log.error("defect", exc_info=error, request_id=request_id(request))
    return _answer(request, 500, "defect", "this is a defect of facefusion-runner", None, {})


def request_id(request: Request) -> str:
    """The id that `requests.RequestLog` gave it."""
    found: str = request.scope.get("state", {}).get("request_id", "")
    return found


def _allowed(request: Request) -> list[str]:
    """The methods of all routes of this path; Starlette names those of the first one only."""
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path is not None and compile_path(route.path)[0].match(request.scope["path"]):
            found |= route.methods or set()
    return sorted(found)


def _answer(
    request: Request, status: int, code: str, message: str, detail: Any, headers: Mapping[str, str]
) -> JSONResponse:
    body = {
        "error": {"code": code, "message": message, "detail": detail},
        "request_id": request_id(request),
    }
    return JSONResponse(body, status, dict(headers))
