"""What every test may ask for."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest_plugins = (
    "tests.support.shared_models",
    "tests.support.tiny_models",
    "tests.support.family_models",
)

# What a shell starts in the background ignores SIGINT, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real networks, clips and photos; the test is skipped where it is absent."""
    if not (SHARED / "MANIFEST.json").is_file():
        pytest.skip("needs the folder ../shared with real networks and clips")
    return SHARED
