"""The application: routes, middleware, and the parts that live as long as it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, get_args

import structlog
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client.core import Metric

from facefusion_runner import __version__
from facefusion_runner.cores import available_cores
from facefusion_runner.loading import Loaded
from facefusion_runner.service import errors, examples, metrics, options, schemas
from facefusion_runner.service.admission import tree_bytes
from facefusion_runner.service.auditing import Auditor
from facefusion_runner.service.context import Context
from facefusion_runner.service.inspector import Inspector
from facefusion_runner.service.keys import Keys
from facefusion_runner.service.links import Links
from facefusion_runner.service.metrics import Metrics
from facefusion_runner.service.requests import RequestLog
from facefusion_runner.service.routes import about, faces, tasks
from facefusion_runner.service.views import view
from facefusion_runner.service.webhooks import Webhooks
from facefusion_runner.settings import ServiceSettings
from facefusion_runner.tasks.files import TaskFiles
from facefusion_runner.tasks.live import Live
from facefusion_runner.tasks.recovery import recover, sweeper_metrics
from facefusion_runner.tasks.store import TaskStore
from facefusion_runner.tasks.supervisor import Supervisor
from facefusion_runner.tasks.task import Outcome, State, Task

EXPIRY_SECONDS: Final = 30.0
"""The most between two looks for tasks whose time is over."""

_log = structlog.get_logger(__name__)

_DESCRIPTION: Final = """
Swaps faces in videos and pictures. Make a task with `POST /v1/tasks`, watch it with
`GET /v1/tasks/{id}/events`, fetch `result.url` when it has succeeded. For use with the consent of the
people shown; every output says in its metadata that it was made.
"""


def create_app(loaded: Loaded[ServiceSettings], files: TaskFiles, store: TaskStore) -> FastAPI:
    """The service over an open folder and store, which the caller closes after it.

    What the last service left is put in order first. Raises ConfigError or StorageError for what would keep
    it from working.
    """
    settings = loaded.settings
    counted = Metrics()
    keys = Keys.of(settings)
    auditor = Auditor.of(settings)
    links = Links(files.secret(), settings.link_ttl_seconds)
    ended = recover(settings, store, files, auditor.ended)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # What belongs to the event loop is made in it.
        live = Live()
        webhooks = Webhooks(settings.webhook_secret, settings.webhook_allow_private)
        observer = _Observer(counted)
        supervisor = Supervisor(loaded, store, files, live, observer)
        inspector = Inspector(available_cores())
        context = Context(
            loaded, files, store, live, supervisor, inspector, keys, links, counted, webhooks, auditor
        )
        observer.context = context
        app.state.context = context
        counted.add(lambda: _now(context))
        while ended:
            observer.ended(ended.pop(0), {})
        supervisor.start()
        expiry = asyncio.create_task(_expire(context))
        try:
            yield
        finally:
            expiry.cancel()
            await supervisor.stop(0)
            await inspector.close()
            await webhooks.close()

    app = _make_app(lifespan)
    app.add_middleware(RequestLog, metrics=counted)
    return app


def _make_app(lifespan: Any) -> FastAPI:
    app = FastAPI(
        title="facefusion-runner",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        # "/v1/tasks/" is no other name of "/v1/tasks": the redirect would lose an upload.
        redirect_slashes=False,
    )
    errors.install(app)
    for router in (tasks.router, faces.router, about.router):
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        found = schema["components"]["schemas"]
        found["TaskOptions"] = options.schema()
        error = schemas.Error.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= {**error.pop("$defs"), "Error": error}
        # Here, because FastAPI drops every null from an example.
        found["Task"]["examples"] = [examples.FINISHED, examples.RUNNING, examples.QUEUED]
        found["TaskPage"]["examples"] = [examples.PAGE]
        app.openapi_schema = schema
    return app.openapi_schema


class _Observer:
    """Metrics, log and webhooks of tasks."""

    context: Context

    def __init__(self, counted: Metrics) -> None:
        self._metrics = counted

    def record(self, task: Task, state: State, outcome: Outcome) -> None:
        self.context.auditor.ended(task, state, outcome)

    def began(self, task: Task) -> None:
        self._metrics.began(task)
        _log.info("task begun", task=task.id, attempt=task.attempts)

    def ended(self, task: Task, report: dict[str, Any]) -> None:
        self._metrics.ended(task, report)
        error = task.outcome.error or {}
        seconds = round((task.finished or 0) - (task.started or 0), 1)
        _log.info("task ended", task=task.id, state=task.state, seconds=seconds, code=error.get("code"))
        webhooks, url = self.context.webhooks, task.request.webhook
        if url is not None and webhooks.enabled:
            body = view(self.context, task, self.context.settings.public_url or "")
            webhooks.send(url, task.id, {"type": f"task.{task.state}", "data": body.model_dump(mode="json")})

    def worker_died(self) -> None:
        self._metrics.worker_died()


async def _expire(context: Context) -> None:
    pause = min(EXPIRY_SECONDS, max(context.settings.result_ttl_seconds / 4, 1))
    while True:
        try:
            for task_id in await asyncio.to_thread(context.store.expired):
                if await asyncio.to_thread(context.store.delete, task_id):
                    await asyncio.to_thread(context.files.delete, task_id)
                    _log.info("task expired", task=task_id)
        except Exception:
            _log.exception("tasks cannot be expired")
        await asyncio.sleep(pause)


def _now(context: Context) -> Iterator[Metric]:
    """Values of this moment, for the metrics."""
    settings = context.settings
    counts = context.store.counts()
    states = {(state,): float(counts.get(state, 0)) for state in get_args(State)}
    yield metrics.gauge("facefusion_tasks", "Tasks that are kept.", states, "state")
    yield metrics.gauge("facefusion_queue_limit", "Tasks that may wait.", {(): float(settings.queue_limit)})
    busy = context.supervisor.busy()
    workers = {("busy",): float(busy), ("idle",): float(settings.workers - busy)}
    yield metrics.gauge("facefusion_workers", "Worker processes.", workers, "state")
    rate = {(): context.live.frames_per_second()}
    yield metrics.gauge("facefusion_frames_per_second", "Of all running tasks together.", rate)
    cached = {(): float(tree_bytes(settings.cache_root))}
    yield metrics.gauge("facefusion_task_cache_bytes", "In CACHE_ROOT now.", cached)
    yield from metrics.disks({"cache": settings.cache_root, "data": context.files.root})
    pids = [worker.pid for worker in context.supervisor.workers()]
    yield from metrics.memory({"worker": pids, "inspector": context.inspector.pids()})
    yield from metrics.sweeper(sweeper_metrics(settings))
