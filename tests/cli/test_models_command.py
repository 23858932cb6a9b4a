"""`models`: the catalog, downloads, checks, imports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.support.file_server import Files, file_server

WEIGHTS = bytes(range(256)) * 500


@pytest.fixture
def root(clean_environment: dict[str, str]) -> Path:
    path = Path(clean_environment["MODEL_ROOT"])
    path.mkdir(parents=True)
    return path


@pytest.fixture
def server() -> Iterator[Files]:
    with file_server() as files:
        yield files


@pytest.fixture
def catalog(root: Path, server: Files) -> None:
    """A user's own catalog: `net` at the server below a licence, `loose` without an address."""
    server.put("/net.onnx", WEIGHTS)
    (root / "catalog.toml").write_text(
        f"""
[licences.strict]
name = "Strict"
url = "https://example.org/strict"
commercial = false

[[models]]
id = "net"
role = "detector"
family = "scrfd"
file = "net.onnx"
licence = "strict"
bytes = {len(WEIGHTS)}
sha256 = "{hashlib.sha256(WEIGHTS).hexdigest()}"
urls = ["{server.url}/net.onnx"]

[[models]]
id = "loose"
role = "encoder"
family = "arcface"
file = "loose.onnx"
licence = "apache-2.0"
"""
    )


@pytest.mark.usefixtures("catalog")
def test_the_list_has_role_family_licence_use_size_and_state(program: Program) -> None:
    lines = program("models", "list").stdout.splitlines()
    assert lines[0].split("  ")[0] == "id"
    words = lines[1].split()
    assert words == ["net", "detector", "scrfd", "strict", "no", "0.1", "MB", "not", "accepted"]
    rows = {row["id"]: row for row in json.loads(program("models", "list", "--json").stdout)}
    assert len(rows) == len(lines) - 1
    assert rows["net"]["commercial"] is False
    assert rows["net"]["bytes"] == len(WEIGHTS)
    assert rows["loose"]["state"] == "missing"


def test_built_in_models_are_listed_as_such_and_need_no_pull(program: Program) -> None:
    rows = [row for row in json.loads(program("models", "list", "--json").stdout) if row["built_in"]]
    assert rows and all(row["state"] == "present" and row["commercial"] for row in rows)
    lines = program("models", "list").stdout.splitlines()
    assert sum(line.endswith("built in") for line in lines) == len(rows)
    weights = next(row["id"] for row in rows if row["bytes"])
    pulled = program("models", "pull", weights, env={"OFFLINE": "true"})
    assert pulled.returncode == 0 and "/builtin/" in pulled.stderr


@pytest.mark.usefixtures("catalog")
def test_weights_are_fetched_once_their_licence_is_accepted(
    program: Program, root: Path, server: Files
) -> None:
    refused = program("models", "pull", "net")
    assert refused.returncode == 2
    assert "MODEL_LICENSES_ACCEPTED=strict" in refused.stderr
    assert server.requests == []
    pulled = program("models", "pull", "net", "--accept", "strict", "--progress", "json")
    assert (pulled.returncode, pulled.stderr) == (0, "")
    events = [json.loads(line) for line in pulled.stdout.splitlines()]
    assert events[0]["event"] == "progress" and events[0]["stage"] == "net"
    assert events[-2]["frames"] == events[-2]["total"] == len(WEIGHTS)
    assert events[-1] == {"event": "done", "id": "net", "path": str(root / "net.onnx")}
    assert (root / "net.onnx").read_bytes() == WEIGHTS
    again = program("models", "pull", "net", env={"MODEL_LICENSES_ACCEPTED": "strict"})
    assert (again.returncode, again.stderr) == (0, f"net: {root / 'net.onnx'}\n")
    assert len(server.requests) == 1


@pytest.mark.usefixtures("catalog")
def test_offline_nothing_is_fetched(program: Program, server: Files) -> None:
    result = program("models", "pull", "net", "--accept", "strict", env={"OFFLINE": "1"})
    assert result.returncode == 3
    assert result.stderr.startswith("error: OFFLINE is set") and result.stderr.count("\n") == 1
    assert server.requests == []


@pytest.mark.usefixtures("catalog")
def test_a_file_of_ones_own_is_taken_if_it_is_the_right_one(
    program: Program, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "right one.onnx").write_bytes(WEIGHTS)
    (tmp_path / "wrong.onnx").write_bytes(b"wrong")
    wrong = program("models", "import", "net", "wrong.onnx")
    assert wrong.returncode == 2 and "is not model net" in wrong.stderr
    assert not (root / "net.onnx").exists()
    right = program("models", "import", "net", "right one.onnx")
    assert (right.returncode, right.stdout) == (0, f"{root / 'net.onnx'}\n")
    path = program("models", "path", "net", "--model-licenses-accepted", "strict")
    assert path.stdout == right.stdout


@pytest.mark.usefixtures("catalog")
def test_verify_reads_what_is_here_and_names_what_is_damaged(program: Program, root: Path) -> None:
    (root / "loose.onnx").write_bytes(b"anything")
    sound = program("models", "verify")
    first, *built_in = sound.stdout.splitlines()
    assert (sound.returncode, first) == (0, f"loose: ok ({root / 'loose.onnx'})")
    assert built_in and all(": ok (" in line and "/builtin/" in line for line in built_in)
    (root / "net.onnx").write_bytes(WEIGHTS[:-1] + b"x")
    damaged = program("models", "verify")
    assert damaged.returncode == 2
    assert damaged.stdout.splitlines()[0].startswith("net: model net is damaged")
    assert damaged.stderr == f"error: 1 of {2 + len(built_in)} models cannot be used\n"


def test_the_path_of_the_root(program: Program, root: Path) -> None:
    assert program("models", "path").stdout == f"{root}\n"


def test_an_unknown_model_is_answered_with_near_names(program: Program) -> None:
    result = program("models", "pull", "inswaper_128")
    assert result.returncode == 2
    assert "no model is called 'inswaper_128'; near to it: inswapper_128" in result.stderr
