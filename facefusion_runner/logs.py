"""What the library logs, shown to whoever runs a command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from facefusion_runner.progress import Reporter


class _ToReporter(logging.Handler):
    """Warnings and worse go through the reporter, so that they do not tear its bar apart."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.warning(record.getMessage())


class _BelowWarning(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


@contextmanager
def shown(level: str, reporter: Reporter) -> Iterator[None]:
    """A block in which the package's log records of at least `level` are shown."""
    logger = logging.getLogger("facefusion_runner")
    before = logger.level, logger.propagate
    details = logging.StreamHandler()
    details.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    details.addFilter(_BelowWarning())
    handlers = (_ToReporter(reporter), details)
    logger.setLevel(level.upper())
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.level, logger.propagate = before
        for handler in handlers:
            logger.removeHandler(handler)
