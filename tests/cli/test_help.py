"""Help that teaches: every command, every setting, examples and exit codes."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from facefusion_runner import __version__
from facefusion_runner.commands.root import root
from facefusion_runner.loading import flag
from facefusion_runner.settings import SECTIONS, SERVICE_SECTIONS


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    found = [path] if path else []
    for name, command in group.commands.items():
        found += commands(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return found


COMMANDS = commands(root)


def help_of(*path: str) -> str:
    result = CliRunner().invoke(root, [*path, "--help"], prog_name="facefusion-runner", terminal_width=100)
    assert result.exit_code == 0, result.output
    return result.output


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) == {
        ("demo",),
        ("swap",),
        ("serve",),
        ("keys",),
        ("keys", "new"),
        ("doctor",),
        ("config",),
        ("models",),
        ("audit",),
        ("audit", "verify"),
        *(("models", name) for name in ("list", "pull", "verify", "import", "path")),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_the_precedence_and_the_exit_codes(path: tuple[str, ...]) -> None:
    text = help_of(*path)
    assert f"    facefusion-runner {' '.join(path)}" in text
    assert "A flag beats the JSON" in " ".join(text.split())
    assert (
        "Exit codes: 0 done, 1 failed, 2 bad input or configuration, 3 refused by policy, 4 cancelled."
        in (" ".join(text.split()))
    )


@pytest.mark.parametrize(
    "path", [path for path in COMMANDS if path not in (("models",), ("audit",), ("keys",))], ids=" ".join
)
def test_the_examples_parse(path: tuple[str, ...]) -> None:
    start = f"    facefusion-runner {' '.join(path)}"
    lines = [line for line in help_of(*path).splitlines() if line.startswith(start)]
    assert lines
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    for line in lines:
        command.make_context(path[-1], line.removeprefix(start).split())


@pytest.mark.parametrize(
    ("command", "sections"), [("swap", SECTIONS), ("config", SECTIONS), ("serve", SERVICE_SECTIONS)]
)
def test_every_setting_is_in_the_help_below_its_section(
    command: str, sections: tuple[type[BaseModel], ...]
) -> None:
    text = help_of(command)
    for section in sections:
        _, found, below = text.partition(f"\n{section.__doc__}:\n")
        assert found
        shown = below.split("\n\n")[0]
        for name, info in section.model_fields.items():
            assert f"  {flag(name)} " in shown
            assert str(info.description).split()[0] in shown


def test_defaults_are_in_the_help() -> None:
    words = " ".join(help_of("swap").split())
    assert "Age at which an orphaned or kept cache is deleted. [300]" in words
    assert "[/tmp/facefusion/cache]" in words


def test_no_short_help_is_cut_off() -> None:
    lines = (help_of() + help_of("models")).splitlines()
    assert not [line for line in lines if line.endswith("...") and "Usage:" not in line]


def test_version() -> None:
    result = CliRunner().invoke(root, ["--version"])
    assert result.output == f"facefusion-runner {__version__}\n"
