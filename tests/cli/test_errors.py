"""Every failure is one line and the exit code of its kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from PIL import Image

from facefusion_runner import cli, errors
from tests.cli.conftest import Program
from tests.support.tiny_models import face_picture

FILES = ["--source", "a.jpg", "--target", "b.mp4", "--output", "c.mp4"]


def kinds(base: type[errors.RunnerError]) -> Iterator[type[errors.RunnerError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from kinds(kind)


EXIT_CODES = {
    "RunnerError": 1,
    "MediaError": 1,
    "StorageError": 1,
    "InputError": 2,
    "NoFaceError": 2,
    "ConfigError": 2,
    "ModelError": 2,
    "LicenceError": 2,
    "DeviceError": 2,
    "PolicyError": 3,
    "ConsentError": 3,
    "Cancelled": 4,
}


def pipeline_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Stands where the pipeline is: what is tested is what the program makes of its failure."""

    def guarded_swap(*arguments: object) -> None:
        raise error

    module = types.ModuleType("facefusion_runner.pipeline.guarded")
    module.guarded_swap = guarded_swap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_every_kind_of_error_has_an_exit_code() -> None:
    assert {kind.__name__ for kind in kinds(errors.RunnerError)} == set(EXIT_CODES)


@pytest.mark.parametrize("kind", list(kinds(errors.RunnerError)), ids=lambda kind: kind.__name__)
def test_an_error_is_one_line_on_stderr_and_ends_in_its_exit_code(
    kind: type[errors.RunnerError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline_that_raises(monkeypatch, kind("frame 7:\nbroken"))
    assert cli.run(["swap", *FILES], {}) == EXIT_CODES[kind.__name__]
    assert capsys.readouterr() == ("", "error: frame 7: broken\n")


@pytest.mark.parametrize(
    "asked", [["--progress", "json"], ["--progress=JSON"], {"PROGRESS": " json "}, "config"]
)
def test_a_program_gets_the_error_as_the_last_line_of_json(
    asked: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline_that_raises(monkeypatch, errors.LicenceError("not accepted"))
    (tmp_path / "task.json").write_text('{"progress": "json"}')
    flags = asked if isinstance(asked, list) else ["--config", str(tmp_path / "task.json")]
    environ = asked if isinstance(asked, dict) else {}
    assert cli.run(["swap", *FILES, *(flags if asked != environ else [])], environ) == 2
    output, error = capsys.readouterr()
    assert json.loads(output.splitlines()[-1]) == {
        "error": {"code": "licence_not_accepted", "message": "not accepted", "detail": None}
    }
    assert error == "error: not accepted\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["swap", "--progress", "json", "--fps", "x"],
        ["swap", "--progress", "json", "--no-such-flag"],
        ["config", "--json", "--fps", "x"],
        ["models", "list", "--json", "--config", "nowhere.json"],
    ],
    ids=" ".join,
)
def test_mistakes_before_the_start_are_told_to_programs_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments, {}) == 2
    output, error = capsys.readouterr()
    message = json.loads(output)["error"]["message"]
    assert error == f"error: {message}\n"


def test_a_defect_says_so_and_shows_its_traceback_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline_that_raises(monkeypatch, ZeroDivisionError("oops"))
    assert cli.run(["swap", *FILES], {}) == 1
    line = "error: this is a defect of facefusion-runner: ZeroDivisionError: oops; --debug shows where\n"
    assert capsys.readouterr() == ("", line)
    for arguments, environ in (
        (["--debug"], {}),
        (["--log-level", "debug"], {}),
        ([], {"LOG_LEVEL": "debug"}),
    ):
        assert cli.run(["swap", *FILES, *arguments], environ) == 1
        shown = capsys.readouterr().err
        assert "Traceback" in shown and "ZeroDivisionError: oops" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["swap"], "swap needs --target and --output; see facefusion-runner swap --help"),
        (["swap", *FILES[:4]], "swap needs --output; see facefusion-runner swap --help"),
        (["swap", "--ouput", "x"], "No such option '--ouput'. Did you mean '--output'?; see"),
        (["swap", "--fps"], "Option '--fps' requires an argument; see"),
        (["swap", "stray"], "Got unexpected extra argument (stray); see facefusion-runner swap --help"),
        (["sawp"], "No such command 'sawp'"),
        (["models", "pull"], "Missing argument 'ID…'; see facefusion-runner models pull --help"),
        (["config", "--config", "nowhere.json"], "--config 'nowhere.json': cannot be read: No such file"),
        (["config", "--cache-ttl-seconds", "5m"], "--cache-ttl-seconds '5m': must be seconds as a number"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments, {}) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith(f"error: {line}") and error.count("\n") == 1


def test_a_library_that_cannot_be_loaded_points_to_the_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "facefusion_runner.pipeline.guarded":
                raise ImportError("libGL.so.1: cannot open shared object file", name="cv2")

    monkeypatch.delitem(sys.modules, "facefusion_runner.pipeline.guarded", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert cli.run(["swap", *FILES], {}) == 2
    error = capsys.readouterr().err
    assert error == (
        "error: a library cannot be loaded: libGL.so.1: cannot open shared object file; "
        "see what mends it with: facefusion-runner doctor\n"
    )


def test_no_command_at_all_shows_the_help(program: Program) -> None:
    result = program()
    assert result.returncode == 2
    assert (
        result.stdout == "" and "Usage: facefusion-runner" in result.stderr and "Commands:" in result.stderr
    )


def test_a_reader_that_goes_away_is_no_error_message(clean_environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "config"],
        env=clean_environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode in (1, -signal.SIGPIPE)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("progress", ["json", "lines", "bar"])
def test_a_task_that_nobody_listens_to_still_succeeds(
    clean_environment: dict[str, str], tiny_models: Path, tmp_path: Path, progress: str, closed: str
) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), face_picture())
    arguments = f"--source face.png --target face.png --output out.png --progress {progress} --device cpu"
    result = subprocess.run(
        ["sh", "-c", f'"$0" -m facefusion_runner swap {arguments} {closed}', sys.executable],
        env={**clean_environment, "MODEL_ROOT": str(tiny_models), "CACHE_GRACE_SECONDS": "0"},
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0
    with Image.open(tmp_path / "out.png") as picture:
        picture.verify()


def test_a_full_disk_behind_stdout_is_one_line(clean_environment: dict[str, str]) -> None:
    result = subprocess.run(
        ["sh", "-c", '"$0" -m facefusion_runner config >/dev/full', sys.executable],
        env=clean_environment,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == b"error: what was asked for cannot be written: No space left on device\n"


def test_errors_without_a_terminal_or_stdout_still_end_in_their_code(
    clean_environment: dict[str, str],
) -> None:
    result = subprocess.run(
        ["sh", "-c", '"$0" -m facefusion_runner config --fps x --json >&- 2>&-', sys.executable],
        env=clean_environment,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
