"""What the service is and can do: models, limits, health, metrics, the page."""

from __future__ import annotations

import asyncio
import re
from importlib import resources
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from facefusion_runner.service import examples, schemas
from facefusion_runner.service.access import AUTHENTICATION, Caller
from facefusion_runner.service.admission import check_disks
from facefusion_runner.service.context import Context, InContext
from facefusion_runner.service.errors import ApiError, described
from facefusion_runner.tasks.formats import OUTPUT_FORMATS

router = APIRouter()

_PAGE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.[a-z]{2,4}")
_PAGE_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@router.get(
    "/v1/models",
    response_model=schemas.Models,
    responses=described(401, 403),
    dependencies=AUTHENTICATION,
    tags=["models"],
    summary="The models",
    operation_id="list_models",
)
async def models(context: InContext, caller: Caller) -> schemas.Models:
    """All that the catalogs hold, with licence and state."""
    return schemas.Models(models=await asyncio.to_thread(_models, context))


def _models(context: Context) -> list[schemas.Model]:
    from facefusion_runner.commands.models import describe
    from facefusion_runner.models.store import open_models

    settings = context.settings
    catalog, store = open_models(settings)
    return [schemas.Model(**describe(entry, catalog, store)) for entry in catalog.entries()]


@router.get(
    "/v1/limits",
    response_model=schemas.Limits,
    tags=["models"],
    summary="What is taken",
    operation_id="get_limits",
)
async def limits(context: InContext) -> schemas.Limits:
    """Needs no key."""
    settings = context.settings
    return schemas.Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_sources=settings.max_sources,
        max_pixels=settings.max_pixels,
        max_duration_seconds=settings.max_duration_seconds,
        require_consent=settings.require_consent,
        keys=bool(len(context.keys)),
        formats={kind: list(endings) for kind, endings in OUTPUT_FORMATS.items()},
        result_ttl_seconds=settings.result_ttl_seconds,
    )


@router.head("/healthz", include_in_schema=False)
@router.get(
    "/healthz",
    response_model=schemas.Health,
    tags=["operation"],
    summary="Whether it is alive",
    operation_id="get_health",
)
async def healthz() -> schemas.Health:
    """Answers as long as the service runs."""
    return schemas.Health(status="ok")


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=schemas.Readiness,
    responses={
        503: {
            "model": schemas.Readiness,
            "description": "It takes no task now.",
            "content": {"application/json": {"example": examples.NOT_READY}},
        }
    },
    tags=["operation"],
    summary="Whether it takes tasks",
    operation_id="get_readiness",
)
async def readyz(context: InContext) -> JSONResponse:
    """Not while it shuts down, its queue or its disks are full, or its device cannot be used."""
    reasons = [] if context.supervisor.problem is None else [context.supervisor.problem]
    if context.draining:
        reasons.append("the service is shutting down")
    if (await asyncio.to_thread(context.store.counts)).get("queued", 0) >= context.settings.queue_limit:
        reasons.append("the queue is full")
    try:
        await asyncio.to_thread(check_disks, context.settings, context.files.root)
    except Exception as error:
        reasons.append(str(error))
    status = "not ready" if reasons else "ready"
    return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}},
            "description": "Metrics.",
        }
    },
    tags=["operation"],
    summary="For Prometheus",
    operation_id="get_metrics",
)
async def metrics(context: InContext) -> Response:
    """In Prometheus' text format; holds no ids."""
    text = await asyncio.to_thread(context.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
async def page() -> Response:
    return _page_file("index.html")


@router.head("/page/{name}", include_in_schema=False)
@router.get("/page/{name}", include_in_schema=False)
async def page_file(name: str) -> Response:
    return _page_file(name)


def _page_file(name: str) -> Response:
    kind = _PAGE_TYPES.get(name.rpartition(".")[2])
    file: Any = resources.files("facefusion_runner.service") / "page" / name
    if kind is None or not _PAGE_NAME.fullmatch(name) or not file.is_file():
        raise ApiError(404, "not_found", "there is no such page")
    return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})
