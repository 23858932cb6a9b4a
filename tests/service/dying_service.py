"""`serve`, killed at one step of the work on a task: `python dying_service.py before|after CLASS.METHOD`.

SIGKILL comes right before or right after the first call of the method, as it may come from the kernel; all
else is the service as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from facefusion_runner.cli import main
from facefusion_runner.tasks.files import TaskFiles
from facefusion_runner.tasks.store import TaskStore

if __name__ == "__main__":
    moment, place = sys.argv[1:]
    owner = {"TaskFiles": TaskFiles, "TaskStore": TaskStore}[place.partition(".")[0]]
    name = place.partition(".")[2]
    method = getattr(owner, name)

    def deadly(*arguments: Any, **more: Any) -> Any:
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **more)
        # Whoever looks for a task and finds none has done nothing yet.
        if name != "claim" or result is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)
    sys.argv = ["facefusion-runner", "serve"]
    main()
