"""A MODEL_ROOT with a catalog of the test's own, and a server to fetch from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facefusion_runner.models.catalog import Catalog, Source
from facefusion_runner.models.download import Patience
from facefusion_runner.models.store import ModelStore
from tests.support.file_server import Files, file_server

LICENCES = """
[licences.free]
name = "Free"
url = "https://example.org/free"
commercial = true
needs_acceptance = false

[licences.strict]
name = "Strict"
url = "https://example.org/strict"
commercial = false
"""

WEIGHTS = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()

QUICK = Patience(tries=3, backoff=0.01, connect=2.0, stall=0.4)


def model(**keys: object) -> str:
    """A `[[models]]` table: a detector with the weights above, but for `keys` (None: left out)."""
    table: dict[str, object] = {
        "id": "net",
        "role": "detector",
        "family": "scrfd",
        "file": "net.onnx",
        "licence": "free",
        "sha256": DIGEST,
        "bytes": len(WEIGHTS),
        **keys,
    }
    rows = [f"{key} = {value!r}" for key, value in table.items() if value is not None]
    return "\n".join(["[[models]]", *rows, ""])


MakeStore = Callable[..., tuple[ModelStore, Catalog]]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Makes a store of a catalog's tables; `accepted` and `offline` as for ModelStore."""

    def make(
        *tables: str, accepted: tuple[str, ...] = (), offline: bool = False
    ) -> tuple[ModelStore, Catalog]:
        root = tmp_path / "models"
        text = LICENCES + "\n".join(tables)
        catalog = Catalog(root, [Source("test.toml", text, None, own=False)])
        return ModelStore(root, catalog, frozenset(accepted), offline, QUICK), catalog

    return make


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with file_server() as files:
        yield files


def names_in(root: Path) -> set[str]:
    """Every file below `root` but the remembered digests and the locks."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith((".digests.json", ".lock"))}
