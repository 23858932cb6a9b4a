"""Tasks: made, watched, fetched, ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from facefusion_runner.cache.task_id import new_task_id, valid_task_id
from facefusion_runner.errors import ConsentError, PolicyError, StorageError
from facefusion_runner.service import examples, options, schemas
from facefusion_runner.service.access import AUTHENTICATION, Caller, caller_of, require_own
from facefusion_runner.service.admission import check_disks
from facefusion_runner.service.context import Context, InContext
from facefusion_runner.service.errors import RETRY_SECONDS, ApiError, described, not_found
from facefusion_runner.service.links import Purpose
from facefusion_runner.service.uploads import Upload, declared_bytes, received
from facefusion_runner.service.views import media_type, result_name, shown
from facefusion_runner.tasks.formats import MEDIA_TYPES
from facefusion_runner.tasks.store import QueueFull, TaskExists
from facefusion_runner.tasks.supervisor import common_settings
from facefusion_runner.tasks.task import Request as TaskRequest
from facefusion_runner.tasks.task import State, Task

router = APIRouter(prefix="/v1/tasks", tags=["tasks"])

_log = structlog.get_logger(__name__)

_FIELDS: Final = frozenset({"options", "task_id", "webhook"})
_REFUSALS: Final = frozenset({PolicyError.code, ConsentError.code})
_WATCH_SECONDS: Final = 15.0

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["target"],
                    "properties": {
                        "source": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "Pictures of the face to put in; some generators need none.",
                        },
                        "target": {
                            "type": "string",
                            "format": "binary",
                            "description": "The video or picture whose faces are replaced.",
                        },
                        "reference": {
                            "type": "string",
                            "format": "binary",
                            "description": "Picture of the person who is replaced; with select: reference.",
                        },
                        "options": {"$ref": "#/components/schemas/TaskOptions"},
                        "task_id": {
                            "type": "string",
                            "pattern": "^[A-Za-z0-9_-]{1,64}$",
                            "description": "A name of your own. Default: a new one.",
                        },
                        "webhook": {
                            "type": "string",
                            "format": "uri",
                            "description": "Where the finished task is sent to, as Standard Webhooks say.",
                        },
                    },
                },
                "encoding": {"options": {"contentType": "application/json"}},
                "example": {
                    "source": ["(me.jpg)"],
                    "target": "(clip.mp4)",
                    "options": {"select": "largest", "blend_mode": "seamless"},
                },
            }
        },
    }
}

TaskIdInPath = schemas.TaskId


@router.post(
    "",
    status_code=202,
    response_model=schemas.Task,
    responses={
        202: {
            "headers": {
                "Location": {"schema": {"type": "string"}, "description": "Of the task."},
                "Idempotent-Replayed": {
                    "schema": {"const": "true", "type": "string"},
                    "description": "There where the same Idempotency-Key made the task before.",
                },
            },
        },
        **described(400, 401, 403, 408, 409, 413, 415, 422, 429, 503, 507),
    },
    openapi_extra=_BODY,
    dependencies=AUTHENTICATION,
    summary="Make a task",
    operation_id="create_task",
)
async def create(
    request: Request,
    response: Response,
    context: InContext,
    caller: Caller,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            pattern=r"^[\x21-\x7e]+$",
            description="Sent again with the same request it gives the same task, and no second one.",
        ),
    ] = None,
) -> schemas.Task:
    """Takes a source and a target, and answers as soon as they are on the disk and known to be usable."""
    await _admit(context, declared_bytes(request, context.settings.max_upload_bytes))
    files = {"source": context.settings.max_sources, "target": 1, "reference": 1}
    async with received(request, context, files, _FIELDS) as upload:
        task, is_new = await _make(context, upload, caller, idempotency_key)
    response.headers["Location"] = f"/v1/tasks/{task.id}"
    if is_new:
        _log.info(
            "task queued", task=task.id, key=caller, bytes=upload.bytes, kind=task.request.target["kind"]
        )
        context.supervisor.wake()
    else:
        response.headers["Idempotent-Replayed"] = "true"
    return await shown(context, request, task)


@router.get(
    "",
    response_model=schemas.TaskPage,
    responses=described(401, 403, 422),
    dependencies=AUTHENTICATION,
    summary="List tasks",
    operation_id="list_tasks",
)
async def index(
    request: Request,
    context: InContext,
    caller: Caller,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before.")] = None,
) -> schemas.TaskPage:
    """The newest first; a key sees its own."""
    tasks, following = await asyncio.to_thread(context.store.page, caller, state, limit, before)
    return schemas.TaskPage(
        tasks=[await shown(context, request, task) for task in tasks],
        next=following,
    )


async def _own(task_id: TaskIdInPath, context: InContext, caller: Caller) -> Task:
    task = await asyncio.to_thread(context.store.get, task_id)
    return require_own(task, caller, task_id)


Own = Annotated[Task, Depends(_own)]


@router.get(
    "/{task_id}",
    response_model=schemas.Task,
    responses=described(401, 403, 404, 422),
    dependencies=AUTHENTICATION,
    summary="One task",
    operation_id="get_task",
)
async def get(request: Request, context: InContext, task: Own) -> schemas.Task:
    """State, progress, and when it has succeeded a link to its result."""
    return await shown(context, request, task)


@router.get(
    "/{task_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {"content": {"text/event-stream": {"example": examples.event(examples.RUNNING)}}},
        **described(401, 403, 404, 422),
    },
    dependencies=AUTHENTICATION,
    summary="Watch a task",
    operation_id="watch_task",
)
async def events(request: Request, context: InContext, task: Own) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named `task`, each the whole task: now, at every change, and at its end."""
    changed = context.live.watch(task.id)
    try:
        while True:
            changed.clear()
            found = await asyncio.to_thread(context.store.get, task.id)
            if found is None:
                return
            yield ServerSentEvent(data=await shown(context, request, found), event="task")
            if found.is_final or context.draining:
                return
            waiting = asyncio.create_task(changed.wait())
            try:
                await asyncio.wait([waiting], timeout=_WATCH_SECONDS)
            finally:
                waiting.cancel()
    finally:
        context.live.unwatch(task.id, changed)


@router.delete(
    "/{task_id}",
    status_code=204,
    response_class=Response,
    responses=described(401, 403, 404, 422),
    dependencies=AUTHENTICATION,
    summary="Cancel a task, or delete a finished one",
    operation_id="delete_task",
)
async def delete(context: InContext, task: Own) -> None:
    """A queued or running task becomes `cancelled`; one that has ended is deleted with its result."""
    if task.is_final:
        await asyncio.to_thread(_forget, context, task.id)
        _log.info("task deleted", task=task.id)
        return
    await context.supervisor.cancel(task.id)


_FILES: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in (*MEDIA_TYPES.values(), "multipart/byteranges")
}
Expires = Annotated[int | None, Query(description="Of a signed link.")]
Signature = Annotated[str | None, Query(max_length=200, description="Of a signed link.")]

_RESULT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file.",
        "content": _FILES,
    },
    206: {"description": "The part asked for.", "content": _FILES},
    304: {"description": "It is what the client has."},
}
_HEAD: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "As GET says it, without the file."},
    304: _RESULT[304],
}


@router.head(
    "/{task_id}/result",
    response_class=Response,
    responses={**_HEAD, **described(401, 403, 404, 409, 416, 422)},
    dependencies=AUTHENTICATION,
    summary="The result's size and type",
    operation_id="head_result",
)
@router.get(
    "/{task_id}/result",
    response_class=FileResponse,
    responses={**_RESULT, **described(401, 403, 404, 409, 416, 422)},
    dependencies=AUTHENTICATION,
    summary="The result",
    operation_id="get_result",
)
async def result(
    request: Request,
    context: InContext,
    task_id: TaskIdInPath,
    expires: Expires = None,
    signature: Signature = None,
    download: Annotated[bool, Query(description="To be saved rather than shown.")] = False,
) -> Response:
    """With a key or by a signed link; ranges and If-None-Match are heeded."""
    task = await _linked(request, context, "result", task_id, expires, signature)
    if task.state != "succeeded":
        raise ApiError(409, "no_result", f"task {task.id} is {task.state}; there is no result")
    path = context.files.folder(task.id) / task.request.output
    try:
        status = await asyncio.to_thread(path.stat)
    except OSError:
        raise not_found(task_id) from None
    answer = FileResponse(
        path,
        media_type=media_type(task),
        filename=result_name(task),
        content_disposition_type="attachment" if download else "inline",
        stat_result=status,
        headers={"Cache-Control": "private, no-cache"},
    )
    if _is_known(request, answer.headers["etag"]):
        kept = {name: answer.headers[name] for name in ("etag", "cache-control")}
        return Response(status_code=304, headers=kept)
    return answer


@router.get(
    "/{task_id}/preview",
    response_class=Response,
    responses={
        200: {
            "description": "A JPEG of the newest finished frame.",
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        },
        **described(401, 403, 404, 422),
    },
    dependencies=AUTHENTICATION,
    summary="A small picture of the result, or of how far it is",
    operation_id="get_preview",
)
async def preview(
    request: Request,
    context: InContext,
    task_id: TaskIdInPath,
    expires: Expires = None,
    signature: Signature = None,
) -> Response:
    """With a key or by the link in the task."""
    task = await _linked(request, context, "preview", task_id, expires, signature)
    path = context.files.preview(task.id)
    try:
        picture = await asyncio.to_thread(path.read_bytes)
    except OSError:
        raise ApiError(404, "not_found", f"task {task.id} has no preview") from None
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _is_known(request: Request, tag: str) -> bool:
    """Whether If-None-Match names the tag (RFC 9110, 13.1.2; a weak tag is as good)."""
    known = [name.strip().removeprefix("W/") for name in request.headers.get("if-none-match", "").split(",")]
    return tag in known or known == ["*"]


async def _linked(
    request: Request,
    context: Context,
    purpose: Purpose,
    task_id: str,
    expires: int | None,
    signature: str | None,
) -> Task:
    """The task, for its key or for whoever has the link."""
    task = await asyncio.to_thread(context.store.get, task_id)
    if signature is not None and expires is not None:
        if not context.links.allows(purpose, task_id, expires, signature):
            raise ApiError(403, "link_expired", "this link is not, or no longer, good")
        if task is None:
            raise not_found(task_id)
        return task
    caller = await caller_of(request, context)
    return require_own(task, caller, task_id)


async def _admit(context: Context, declared: int) -> None:
    """Refuses before the upload what would be refused after it."""
    if context.draining:
        raise ApiError(
            503,
            "shutting_down",
            "the service is shutting down",
            headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"},
        )
    waiting = (await asyncio.to_thread(context.store.counts)).get("queued", 0)
    if waiting >= context.settings.queue_limit:
        raise QueueFull(f"{waiting} tasks wait already; try again later")
    await asyncio.to_thread(check_disks, context.settings, context.files.root, declared)


async def _make(
    context: Context, upload: Upload, caller: str | None, idempotency: str | None
) -> tuple[Task, bool]:
    """The task, and whether it is a new one."""
    if not upload.files.get("target"):
        raise ApiError(422, "missing_part", "the part target is missing")
    task_id = upload.fields.get("task_id") or new_task_id()
    if not valid_task_id(task_id):
        raise ApiError(422, "bad_input", "task_id: must be 1 to 64 of A-Z a-z 0-9 _ -")
    digest = _digest(upload)
    if idempotency is not None:
        earlier = await asyncio.to_thread(context.store.repeated, caller, idempotency, digest)
        if earlier is not None:
            return earlier, False
    if await asyncio.to_thread(context.store.get, task_id) is not None:
        raise TaskExists(f"there is a task {task_id} already")
    wanted = await _inspected(context, upload, task_id, caller)
    await asyncio.to_thread(_accept, context, upload, task_id)
    try:
        task = await asyncio.to_thread(
            context.store.add,
            task_id,
            wanted,
            key=caller,
            idempotency=idempotency,
            digest=digest,
            limit=context.settings.queue_limit,
        )
    except BaseException as error:
        await asyncio.to_thread(context.files.delete, task_id)
        if isinstance(error, TaskExists) and idempotency is not None:
            # The same request came twice at once, and the other was quicker.
            earlier = await asyncio.to_thread(context.store.repeated, caller, idempotency, digest)
            if earlier is not None:
                return earlier, False
        raise
    return task, True


async def _inspected(context: Context, upload: Upload, task_id: str, caller: str | None) -> TaskRequest:
    """What is asked for, once it is known that it can be done."""
    reference = upload.files.get("reference", [None])[0]
    reference_path = None if reference is None else str(upload.folder / reference)
    chosen, output_format = options.read(upload.fields.get("options") or "{}", context.loaded, reference_path)
    webhook = upload.fields.get("webhook")
    if webhook is not None:
        context.webhooks.check(webhook)
    folder = upload.folder
    job = {
        "job": "inspect",
        "folder": str(folder),
        "target": upload.files["target"][0],
        "format": output_format,
        "limits": {
            "pixels": context.settings.max_pixels,
            "seconds": context.settings.max_duration_seconds,
        },
        "settings": {
            **common_settings(context.loaded),
            **chosen,
            "source": [str(folder / name) for name in upload.files.get("source", [])],
            "target": str(folder / upload.files["target"][0]),
            "reference": reference_path,
        },
    }
    try:
        answer = await context.inspector.run(job, folder)
    except ApiError as error:
        if error.code in _REFUSALS:
            refusal = (task_id, caller, error.code, chosen, upload.files, upload.digests, error.detail or ())
            await asyncio.to_thread(context.auditor.refused, *refusal)
        raise
    return TaskRequest(
        options={**chosen, **({} if output_format is None else {"output_format": output_format})},
        target=answer["target"],
        sources=tuple(upload.files.get("source", [])),
        target_file=upload.files["target"][0],
        reference=reference,
        output=answer["output"],
        digests=upload.digests,
        verdicts=tuple(answer["verdicts"]),
        webhook=webhook,
    )


def _accept(context: Context, upload: Upload, task_id: str) -> None:
    try:
        context.files.accept(upload.folder, task_id)
        upload.kept = True
    except OSError as error:
        if context.files.folder(task_id).exists():
            raise TaskExists(f"there is a task {task_id} already") from None
        raise StorageError(f"the task cannot be stored: {error.strerror}") from None


def _digest(upload: Upload) -> str:
    """Of all that makes a request what it is."""
    parts = [upload.files, upload.digests, upload.fields]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _forget(context: Context, task_id: str) -> None:
    if context.store.delete(task_id):
        context.files.delete(task_id)
