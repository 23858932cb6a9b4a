"""What must start fast imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import REPOSITORY

HEAVY = {"numpy", "cv2", "onnxruntime", "onnx", "av", "insightface", "skimage", "PIL", "httpx"}

SCRIPT = """
import json, os, sys
from facefusion_runner.cli import run
arguments = json.loads(sys.argv[1])
output, sys.stdout = sys.stdout, open(os.devnull, "w")
code = run(arguments, os.environ)
json.dump([code, sorted(sys.modules)], output)
"""


def imported_by(arguments: list[str], environment: dict[str, str]) -> list[str]:
    """The modules that a command which succeeds has imported."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(result.stdout)
    assert code == 0
    return list(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["config"],
        ["config", "--json"],
        ["demo", "--help"],
        ["swap", "--help"],
        ["doctor", "--help"],
        ["models", "pull", "--help"],
        ["models", "path"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str], clean_environment: dict[str, str]) -> None:
    assert not HEAVY.intersection(imported_by(arguments, clean_environment))


def test_listing_models_loads_no_network_library(clean_environment: dict[str, str]) -> None:
    modules = imported_by(["models", "list"], clean_environment)
    assert not (HEAVY - {"httpx"}).intersection(modules)


def test_the_parsers_of_values_need_the_standard_library_only() -> None:
    script = (
        "import sys, facefusion_runner.values;"
        "print([name for name in sys.modules if name.partition('.')[0] not in"
        " {*sys.stdlib_module_names, 'facefusion_runner', '__main__'}])"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
