"""`swap` from the command line to the result."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.conftest import Program
from tests.support.tiny_models import face_picture


@pytest.fixture
def pictures(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "source.png"), face_picture())
    cv2.imwrite(str(tmp_path / "target.png"), face_picture((400, 300), width=120))


FILES = ("swap", "--source", "source.png", "--target", "target.png", "--output", "out.png")


@pytest.mark.usefixtures("pictures")
def test_a_program_reads_progress_and_the_result(program: Program, tiny_models: Path, tmp_path: Path) -> None:
    result = program(*FILES, "--progress", "json", "--generator=narrow", env={"MODEL_ROOT": str(tiny_models)})
    assert (result.returncode, result.stderr) == (0, "")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {event["event"] for event in events[:-1]} <= {"progress", "warning"}
    done = events[-1]
    assert (done["event"], done["output"], done["frames"], done["faces"]) == ("done", "out.png", 1, 1)
    before, after = cv2.imread(str(tmp_path / "target.png")), cv2.imread(str(tmp_path / "out.png"))
    assert before.shape == after.shape and not np.array_equal(before, after)
    assert [path for path in (tmp_path / "cache" / "root").iterdir() if not path.name.startswith(".")] == []


@pytest.mark.usefixtures("pictures")
def test_people_read_one_line_at_the_end(program: Program, tiny_models: Path) -> None:
    result = program(*FILES, "--cache-grace-seconds", "0", env={"MODEL_ROOT": str(tiny_models)})
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-1].startswith("out.png: 1 frames, 1 faces replaced, 0:0")


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--source", "nowhere.png"], 2),
        (["--detector", "nosuch"], 2),
        (["--output", "target.png"], 2),
        (["--sweep-schedule", "61 * * * *"], 2),
        (["--cache-root", "/"], 2),
        (["--cache-root", "/tmp"], 2),
    ],
)
def test_what_cannot_work_is_one_line(
    program: Program, tiny_models: Path, arguments: list[str], code: int
) -> None:
    result = program(
        *FILES, *arguments, "--progress=none", "--device=cpu", env={"MODEL_ROOT": str(tiny_models)}
    )
    assert result.returncode == code
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
