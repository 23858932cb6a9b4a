"""Who asks: the name of the API key, or nobody where none is needed."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from facefusion_runner.service.context import Context, InContext
from facefusion_runner.service.errors import ApiError, not_found
from facefusion_runner.tasks.task import Task

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

# For OpenAPI; what they find is read from the request, so that one answer covers every mistake.
_BEARER = HTTPBearer(auto_error=False, description="An API key, where the service asks for one.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same.")


def given_key(request: Request) -> str | None:
    """The key in the request's headers."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.headers.get("x-api-key")


async def caller_of(request: Request, context: InContext) -> str | None:
    """Raises ApiError unless the request may be served."""
    if not len(context.keys):
        _refuse_other_sites(request, context)
        return None
    key = given_key(request)
    name = None if key is None else context.keys.name_of(key)
    if name is None:
        what = "an API key is needed" if key is None else "this API key is not known"
        raise ApiError(
            401, "unauthorized", f"{what}: Authorization: Bearer KEY", headers={"WWW-Authenticate": "Bearer"}
        )
    return name


def _refuse_other_sites(request: Request, context: Context) -> None:
    """Without keys it is the address that protects the service, and every browser here can reach it.

    No page of another site may make it work, nor one that lets its own name mean this machine, which is
    called DNS rebinding.
    """
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise ApiError(403, "other_site", "a page of another site may not use this service")
    settings = context.settings
    public = urlsplit(settings.public_url or "").hostname
    if settings.host in ("auto", *_LOOPBACK) and request.url.hostname not in (*_LOOPBACK, public):
        raise ApiError(
            403,
            "unknown_host",
            f"this is localhost, not {request.url.hostname}; PUBLIC_URL can give it another name",
        )


Caller = Annotated[str | None, Depends(caller_of)]
AUTHENTICATION = [Depends(_BEARER), Depends(_HEADER)]


def require_own(task: Task | None, caller: str | None, task_id: str) -> Task:
    """The task; to every key those of others do not exist."""
    if task is None or (caller is not None and task.key != caller):
        raise not_found(task_id)
    return task
