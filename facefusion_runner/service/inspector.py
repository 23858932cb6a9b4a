"""Looks at uploads in a process of its own, which a damaged file may crash or keep busy without harm."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from facefusion_runner.errors import InputError
from facefusion_runner.service.errors import ApiError
from facefusion_runner.tasks.process import Event, WorkerDied, WorkerProcess

SECONDS: Final = 30.0
"""The longest look."""
_RECYCLE_JOBS: Final = 1000


class Inspector:
    """Does one job after the other."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._turn = asyncio.Lock()
        self._worker: WorkerProcess | None = None
        self._jobs = 0

    async def run(self, job: dict[str, Any], folder: Path) -> Event:
        """The job's answer. ApiError for what the job found wrong; `folder` is left out of messages."""
        async with self._turn:
            try:
                answer = await self._answer(job, folder)
            except WorkerDied:
                # It may have been killed for something else: the file is to blame when it happens again.
                try:
                    answer = await self._answer(job, folder)
                except WorkerDied:
                    raise InputError("a file cannot be read: the decoder crashed on it") from None
        if answer["event"] == "error":
            error = answer["error"]
            if error["code"] == "storage_failed":
                status = 507
            elif error["code"] == "defect":
                status = 500
            else:
                status = 422
            raise ApiError(status, error["code"], error["message"], detail=error["detail"])
        return answer

    async def _answer(self, job: dict[str, Any], folder: Path) -> Event:
        worker = await self._ready()
        try:
            return await asyncio.wait_for(worker.run(job, folder, lambda event: None), SECONDS)
        except TimeoutError:
            await self.close()
            raise InputError("a file cannot be read: looking at it takes too long") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Ends the process; the next job gets a new one."""
        worker, self._worker, self._jobs = self._worker, None, 0
        if worker is not None:
            worker.kill()
            await asyncio.shield(worker.close())

    def pids(self) -> list[int]:
        """Of the process, while there is one."""
        return [self._worker.pid] if self._worker is not None else []

    async def _ready(self) -> WorkerProcess:
        if self._worker is None or not self._worker.is_alive or self._jobs >= _RECYCLE_JOBS:
            await self.close()
            # On the CPU: one look is not worth the memory of a GPU.
            self._worker = await WorkerProcess.start("cpu", self._threads, niceness=0)
        self._jobs += 1
        return self._worker
