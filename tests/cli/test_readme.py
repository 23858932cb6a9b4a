"""The README says what is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.errors import (
    Cancelled,
    ConfigError,
    InputError,
    PolicyError,
    RunnerError,
)
from facefusion_runner.models.families import families
from facefusion_runner.settings import ServiceSettings

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(ServiceSettings.model_fields))
def test_every_setting_is_explained(name: str) -> None:
    assert f"`{name.upper()}`" in README


def test_no_setting_is_explained_that_does_not_exist() -> None:
    table = README.split("## Configuration")[1].split("## Installation")[0]
    named = set(re.findall(r"`([A-Z][A-Z_]+)(?:=[a-z]+)?`", table)) - {"CACHE_SHARED"}
    assert named <= {name.upper() for name in ServiceSettings.model_fields}


@pytest.mark.parametrize("role", ["detector", "encoder", "generator"])
def test_every_family_is_named(role: str) -> None:
    for family in families(role):  # type: ignore[arg-type]
        assert f"`{family}`" in README


def test_every_blend_mode_is_named() -> None:
    assert all(f"`{mode}`" in README for mode in BLEND_MODES)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    rows = dict(re.findall(r"^\| (\d) \| (\w+)", README, re.MULTILINE))
    codes = {each.exit_code for each in (RunnerError, InputError, ConfigError, PolicyError, Cancelled)}
    assert set(rows) == {"0", *map(str, codes)}


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).resolve().parents[2] / target).exists()
