"""A kept task as the API shows it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import Request

from facefusion_runner.service import schemas
from facefusion_runner.service.context import Context
from facefusion_runner.service.links import Purpose
from facefusion_runner.tasks.formats import MEDIA_TYPES
from facefusion_runner.tasks.task import Task


async def shown(context: Context, request: Request, task: Task) -> schemas.Task:
    """The task as it is now, with links that lead where the request came to."""
    position = None
    if task.state == "queued":
        position = await asyncio.to_thread(context.store.position, task.id)
    return view(context, task, context.settings.public_url or str(request.base_url), position)


def view(context: Context, task: Task, base: str, position: int | None = None) -> schemas.Task:
    """The task with links that begin with `base`."""
    running = context.live.get(task.id)
    outcome = task.outcome
    has_preview = context.files.preview(task.id).exists()
    return schemas.Task(
        id=task.id,
        state=task.state,
        created_at=_moment(task.created),
        started_at=None if task.started is None else _moment(task.started),
        finished_at=None if task.finished is None else _moment(task.finished),
        expires_at=None if task.expires is None else _moment(task.expires),
        attempts=task.attempts,
        position=position,
        options=dict(task.request.options),
        target=schemas.Target(**task.request.target),
        progress=(
            schemas.TaskProgress(**running.progress)
            if running is not None and running.progress is not None and task.state == "running"
            else None
        ),
        timings={phase: round(seconds, 3) for phase, seconds in outcome.timings.items()},
        stages={stage: round(seconds, 3) for stage, seconds in outcome.stages.items()},
        warnings=list(running.warnings if running is not None else outcome.warnings),
        error=None if outcome.error is None else schemas.ErrorDetail(**outcome.error),
        result=_result(context, base, task),
        preview_url=_link(context, base, task, "preview")[0] if has_preview else None,
    )


def result_name(task: Task) -> str:
    """Under which the result is downloaded."""
    return f"{task.id}.{_ending(task)}"


def media_type(task: Task) -> str:
    return MEDIA_TYPES[_ending(task)]


def _ending(task: Task) -> str:
    return task.request.output.rpartition(".")[2]


def _result(context: Context, base: str, task: Task) -> schemas.TaskResult | None:
    if task.state != "succeeded":
        return None
    url, expires = _link(context, base, task, "result")
    return schemas.TaskResult(
        bytes=task.outcome.bytes,
        media_type=media_type(task),
        name=result_name(task),
        frames=task.outcome.frames,
        faces=task.outcome.faces,
        url=url,
        link_expires_at=_moment(expires),
    )


def _link(context: Context, base: str, task: Task, purpose: Purpose) -> tuple[str, int]:
    query, expires = context.links.query(purpose, task.id, task.expires)
    return f"{base.rstrip('/')}/v1/tasks/{task.id}/{purpose}?{query}", expires


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
