"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from facefusion_runner.loading import Loaded
from facefusion_runner.service.auditing import Auditor
from facefusion_runner.service.inspector import Inspector
from facefusion_runner.service.keys import Keys
from facefusion_runner.service.links import Links
from facefusion_runner.service.metrics import Metrics
from facefusion_runner.service.webhooks import Webhooks
from facefusion_runner.settings import ServiceSettings
from facefusion_runner.tasks.files import TaskFiles
from facefusion_runner.tasks.live import Live
from facefusion_runner.tasks.store import TaskStore
from facefusion_runner.tasks.supervisor import Supervisor


@dataclass(slots=True)
class Context:
    """The parts of a running service."""

    loaded: Loaded[ServiceSettings]
    files: TaskFiles
    store: TaskStore
    live: Live
    supervisor: Supervisor
    inspector: Inspector
    keys: Keys
    links: Links
    metrics: Metrics
    webhooks: Webhooks
    auditor: Auditor
    draining: bool = False
    """It is shutting down: no further task is taken."""

    @property
    def settings(self) -> ServiceSettings:
        return self.loaded.settings


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


InContext = Annotated[Context, Depends(_context)]
