"""The sample package in examples/plugin: installed into a fresh environment, it swaps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.tiny_models import draw_face, face_picture

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the plug-in, and all else from this one."""
    folder = tmp_path_factory.mktemp("plugin")
    venv.create(folder / "venv", with_pip=False)
    interpreter = folder / "venv" / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([interpreter, "-c", asked], capture_output=True, text=True, check=True)
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(answer.stdout.strip(), "this_environment.pth").write_text(
        "\n".join([*sorted(here), str(REPOSITORY)]) + "\n"
    )
    # Building leaves files beside the sources.
    source = shutil.copytree(REPOSITORY / "examples" / "plugin", folder / "source")
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--no-index", str(source)], check=True, timeout=120)
    return interpreter


def run(python: Path, folder: Path, *arguments: str, models: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "MODEL_ROOT": str(models),
        "CACHE_ROOT": str(folder / "cache"),
        "CACHE_GRACE_SECONDS": "0",
    }
    return subprocess.run(
        [python, "-m", "facefusion_runner", *arguments],
        **{"env": environment, "cwd": folder, "capture_output": True, "text": True, "timeout": 120},
        check=False,
    )


def test_its_models_are_listed_with_its_family(python: Path, tmp_path: Path, tiny_models: Path) -> None:
    listed = run(python, tmp_path, "models", "list", "--json", models=tiny_models)
    assert listed.returncode == 0, listed.stderr
    rows = {row["id"]: row for row in json.loads(listed.stdout)}
    assert rows["complexion"]["family"] == "colour_transfer"
    assert rows["complexion_half"]["state"] == "present"


def test_it_gives_the_target_the_sources_colours(python: Path, tmp_path: Path, tiny_models: Path) -> None:
    target = face_picture((400, 300), 120)
    source = face_picture((400, 300), 0)
    draw_face(source, (200, 150), 120)
    # The same drawing, paler; still red enough to be found.
    pale = cv2.addWeighted(source, 0.7, np.full_like(source, 40), 0.3, 0)
    cv2.imwrite(str(tmp_path / "target.png"), target)
    cv2.imwrite(str(tmp_path / "source.png"), pale)
    faces = {}
    for model in ("complexion", "complexion_half"):
        done = run(
            *(
                python,
                tmp_path,
                "swap",
                "--generator",
                model,
                "--source",
                "source.png",
                "--target",
                "target.png",
            ),
            *("--output", f"{model}.png"),
            models=tiny_models,
        )
        assert done.returncode == 0, done.stderr
        result = cv2.imread(str(tmp_path / f"{model}.png"))
        assert not cv2.absdiff(result, target)[:20].any(), "what is no face has changed"
        faces[model] = result[140:160, 190:210].mean((0, 1))
    before, wanted = target[140:160, 190:210].mean((0, 1)), pale[140:160, 190:210].mean((0, 1))
    away = np.linalg.norm(before - wanted)
    assert away > 30
    whole, half = (np.linalg.norm(faces[name] - wanted) for name in ("complexion", "complexion_half"))
    assert whole < 0.35 * away and whole < half < away


def test_the_option_of_another_family_is_refused_in_one_line(
    python: Path, tmp_path: Path, tiny_models: Path
) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), face_picture((400, 300), 120))
    done = run(
        *(python, tmp_path, "swap", "--generator", "complexion", "--morph", "0.5", "--source", "face.png"),
        *("--target", "face.png", "--output", "out.png"),
        models=tiny_models,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: generator complexion knows no morph; leave --morph out"
