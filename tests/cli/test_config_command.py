"""`config` shows what is in force and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facefusion_runner.loading import flag
from facefusion_runner.settings import SECTIONS, Settings
from tests.cli.conftest import Program
from tests.cli.setting_values import EXAMPLES


def test_every_value_is_shown_with_its_origin(program: Program, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text('{"detector": "yunet", "quality": 50, "source": ["a.jpg", "b.jpg"]}')
    environ = {"DETECTOR": "scrfd", "CACHE_TTL_SECONDS": "60"}
    result = program("config", "--config", "task.json", "--quality", "70", "--json", env=environ)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert list(shown) == [name for section in SECTIONS for name in section.model_fields]
    assert shown["quality"] == {"value": 70, "from": "flag", "name": "--quality"}
    assert shown["detector"] == {"value": "yunet", "from": "config", "name": "detector"}
    assert shown["cache_ttl_seconds"] == {"value": 60.0, "from": "environment", "name": "CACHE_TTL_SECONDS"}
    assert shown["generator"] == {"value": "mesh", "from": "default", "name": "GENERATOR"}
    assert shown["source"]["value"] == ["a.jpg", "b.jpg"]


def test_the_table_in_a_pipe_has_one_line_per_setting(program: Program) -> None:
    long = "/" + "x" * 150
    result = program("config", "--target", long, "--overwrite", env={"FPS": "30000/1001"})
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + len(Settings.model_fields)
    cells = {line.split()[0]: line.split()[1:] for line in lines}
    assert cells["setting"] == ["value", "from"]
    assert cells["target"] == [long, "flag"]
    assert cells["overwrite"] == ["true", "flag"]
    assert cells["fps"] == ["30000/1001", "environment"]
    assert cells["detect_every"] == ["1"]


def test_the_json_can_be_used_as_config_again(program: Program, tmp_path: Path) -> None:
    flags = [f"{flag(name)}={example.text}" for name, example in EXAMPLES.items()]
    shown = json.loads(program("config", "--json", "--sweep-schedule=@daily", *flags).stdout)
    (tmp_path / "again.json").write_text(json.dumps({name: row["value"] for name, row in shown.items()}))
    again = json.loads(program("config", "--json", "--config", "again.json").stdout)
    assert {name: row["value"] for name, row in again.items()} == {
        name: row["value"] for name, row in shown.items()
    }
    assert {row["from"] for row in again.values()} == {"config"}


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--overwrite"], True),
        (["--overwrite", "--quality", "3"], True),
        (["--overwrite", "false"], False),
        (["--overwrite=NO"], False),
        (["--no-overwrite"], False),
        (["--overwrite="], False),
    ],
)
def test_a_switch_may_be_written_in_several_ways(program: Program, arguments: list[str], value: bool) -> None:
    result = program("config", "--json", *arguments, env={"OVERWRITE": "" if value else "true"})
    assert json.loads(result.stdout)["overwrite"]["value"] is value


def test_a_bad_sweep_schedule_is_an_error(program: Program) -> None:
    result = program("config", env={"SWEEP_SCHEDULE": "every hour"})
    assert result.returncode == 2
    assert result.stderr.startswith("error: SWEEP_SCHEDULE='every hour': must be a cron expression")
