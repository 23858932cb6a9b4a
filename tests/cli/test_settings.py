"""One name, one parser and one order of precedence for every setting."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from facefusion_runner import values
from facefusion_runner.errors import ConfigError
from facefusion_runner.loading import Level, Loaded, flag, load_settings
from facefusion_runner.settings import SECTIONS, SERVICE_SECTIONS, Files, ServiceSettings, Settings
from tests.cli.setting_values import EXAMPLES, SERVICE_EXAMPLES

ALL_EXAMPLES = {**EXAMPLES, **SERVICE_EXAMPLES}
LEVELS: tuple[Level, ...] = ("flag", "config", "environment")


def load_at(level: Level, name: str, text: object, tmp_path: Path) -> Loaded[ServiceSettings]:
    config = tmp_path / "task.json"
    config.write_text(json.dumps({name: text} if level == "config" else {}))
    flags = {name: str(text)} if level == "flag" else {}
    environ = {name.upper(): str(text)} if level == "environment" else {}
    return load_settings(flags, config, environ, ServiceSettings)


def load_json(tmp_path: Path, text: str) -> Settings:
    config = tmp_path / "task.json"
    config.write_text(text, "utf-8")
    return load_settings({}, config, {}, Settings).settings


def test_every_setting_has_an_example_and_is_in_one_section() -> None:
    assert set(EXAMPLES) == set(Settings.model_fields)
    assert sorted(name for section in SECTIONS for name in section.model_fields) == sorted(EXAMPLES)
    assert set(ALL_EXAMPLES) == set(ServiceSettings.model_fields)
    in_service = [name for section in (Files, *SERVICE_SECTIONS) for name in section.model_fields]
    assert sorted(in_service) == sorted(ALL_EXAMPLES)


def test_defaults_are_those_of_the_documentation() -> None:
    settings = load_settings({}, None, {}, Settings).settings
    documented = {
        "auto_clear_cache": True,
        "cache_ttl_seconds": 300,
        "cache_root": Path("/tmp/facefusion/cache"),
        "cache_grace_seconds": 2,
        "cache_keep": "never",
        "cache_artifacts": (),
        "cache_max_usage_percent": 80,
        "cache_max_bytes": None,
        "cache_shared": False,
        "sweep_schedule": "0 * * * *",
        "sweep_state_root": None,
        "sweep_time_budget_seconds": 55,
        "model_licenses_accepted": (),
        "offline": False,
        "detector": "auto",
        "landmarker": "auto",
        "encoder": "auto",
        "generator": "mesh",
    }
    assert {name: getattr(settings, name) for name in documented} == documented


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ALL_EXAMPLES)
def test_a_setting_means_the_same_at_every_level(name: str, level: Level, tmp_path: Path) -> None:
    loaded = load_at(level, name, ALL_EXAMPLES[name].text, tmp_path)
    assert getattr(loaded.settings, name) == ALL_EXAMPLES[name].value
    assert loaded.origins[name].level == level
    spelling = {"flag": flag(name), "config": name, "environment": name.upper()}[level]
    assert loaded.origins[name].name == spelling
    assert {origin.level for other, origin in loaded.origins.items() if other != name} == {"default"}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ALL_EXAMPLES)
def test_a_malformed_value_is_one_line_with_name_value_and_what_is_allowed(
    name: str, level: Level, tmp_path: Path
) -> None:
    refused = ALL_EXAMPLES[name].refused
    with pytest.raises(ConfigError) as caught:
        load_at(level, name, refused, tmp_path)
    line = str(caught.value)
    spelling = {"flag": f"{flag(name)} ", "config": f"{name} = ", "environment": f"{name.upper()}="}[level]
    assert f"{spelling}{refused!r}: must" in line
    assert ALL_EXAMPLES[name].allowed in line
    assert "\n" not in line


@pytest.mark.parametrize("name", [name for name in ALL_EXAMPLES if name != "cache_root"])
@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_value_is_the_default(name: str, level: Level, tmp_path: Path) -> None:
    assert getattr(load_at(level, name, "", tmp_path).settings, name) == getattr(ServiceSettings(), name)


def test_an_empty_flag_takes_a_setting_of_the_environment_back() -> None:
    environ = {"CACHE_ARTIFACTS": "frames"}
    assert load_settings({"cache_artifacts": ""}, None, environ, Settings).settings.cache_artifacts == ()


@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_cache_root_is_refused(level: Level, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absolute path"):
        load_at(level, "cache_root", "", tmp_path)


def test_flag_beats_json_beats_environment_beats_default(tmp_path: Path) -> None:
    config = tmp_path / "task.json"
    config.write_text('{"detect_size": 512, "quality": 50}')
    environ = {"DETECT_SIZE": "256", "QUALITY": "40", "DETECT_EVERY": "3"}
    loaded = load_settings({"detect_size": "1024"}, config, environ, Settings)
    found = {
        name: (getattr(loaded.settings, name), loaded.origins[name].level)
        for name in ("detect_size", "quality", "detect_every", "pixel_boost")
    }
    assert found == {
        "detect_size": (1024, "flag"),
        "quality": (50, "config"),
        "detect_every": (3, "environment"),
        "pixel_boost": (1, "default"),
    }


def test_a_lower_value_that_is_not_used_is_not_judged() -> None:
    assert load_settings({"fps": "25"}, None, {"FPS": "nonsense"}, Settings).settings.fps == 25


def test_the_environment_knows_upper_case_names_only() -> None:
    assert load_settings({}, None, {"quality": "40", "Quality": "41"}, Settings).settings.quality is None


def test_json_values_may_have_their_own_kinds(tmp_path: Path) -> None:
    text = """{"source": ["a.jpg", "b:c.jpg"], "select": [1, 0], "offline": true, "overwrite": 0,
               "trim_start": 4.1, "mask_padding": [0.1, 0, 0.1, 0], "cache_artifacts": ["crops"],
               "cache_max_bytes": null, "detect_score": 0.5, "mask_feather": 1}"""
    settings = load_json(tmp_path, text)
    assert settings.source == (Path("a.jpg"), Path("b:c.jpg"))
    assert settings.select == (1, 0)
    assert (settings.offline, settings.overwrite) == (True, False)
    assert settings.trim_start == Fraction(41, 10)
    assert settings.mask_padding == (0.1, 0.0, 0.1, 0.0)
    assert settings.cache_artifacts == ("crops",)
    assert (settings.cache_max_bytes, settings.detect_score, settings.mask_feather) == (None, 0.5, 1.0)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"offline": 2}', "offline = 2: must be 1/true"),
        ('{"cache_ttl_seconds": true}', "cache_ttl_seconds = true: must be seconds"),
        ('{"cache_ttl_seconds": NaN}', "cache_ttl_seconds = NaN: must be seconds"),
        ('{"cache_ttl_seconds": 1e999}', "cache_ttl_seconds = Infinity: must be seconds"),
        ('{"detect_size": 640.5}', "detect_size = 640.5: must be a whole number"),
        ('{"detector": ["a"]}', "detector = "),
        ('{"detector": {"a": 1}}', 'detector = {"a": 1}: must be one value'),
        ('{"source": {"a": 1}}', "source = "),
        ('{"source": [["a"]]}', "source = "),
        ('{"select": [1.5]}', "select = "),
        ('{"detect_sise": 640}', "unknown setting 'detect_sise'; did you mean detect_size"),
        ('{"DETECT-SIZE": 640}', "did you mean detect_size"),
        ('{"zzz": 1}', "unknown setting 'zzz'"),
        ('{"fps": 1, "fps": 2}', "'fps' is there twice"),
        ("[]", "one JSON object"),
        ('{"fps": }', "not JSON: Expecting value at line 1 column 9"),
        ("[" * 100_000, "not usable JSON"),
        ('{"task_id": "' + "x" * 5000 + '"}', "must be 1 to 64"),
    ],
)
def test_a_mistake_in_the_json_is_one_short_line(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_json(tmp_path, text)
    line = str(caught.value)
    assert part in line
    assert "task.json" in line
    assert "\n" not in line and len(line) < 400


def test_a_config_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json.*No such file"):
        load_settings({}, tmp_path / "nowhere.json", {}, Settings)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({}, tmp_path, {}, Settings)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not usable JSON"):
        load_settings({}, tmp_path / "binary.json", {}, Settings)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_bytes(b"\xef\xbb\xbf" + b'{"quality": 7}')
    assert load_settings({}, tmp_path / "task.json", {}, Settings).settings.quality == 7


def test_several_sources_in_the_environment_are_separated_like_a_path() -> None:
    assert load_settings({}, None, {"SOURCE": "a.jpg:b.jpg:"}, Settings).settings.source == (
        Path("a.jpg"),
        Path("b.jpg"),
    )
    assert load_settings({"source": ("a:b.jpg", "c.jpg")}, None, {}, Settings).settings.source == (
        Path("a:b.jpg"),
        Path("c.jpg"),
    )


def test_nul_is_refused_in_paths() -> None:
    with pytest.raises(ConfigError, match=r"--target 'a\\x00b': must not hold"):
        load_settings({"target": "a\0b"}, None, {}, Settings)


@pytest.mark.parametrize(
    ("flags", "environ", "line"),
    [
        ({"trim_end": "1"}, {"TRIM_START": "2"}, "--trim-end must be later than TRIM_START"),
        ({"trim_end": "0"}, {}, "--trim-end must be later than 0"),
        ({}, {"SELECT": "reference"}, "SELECT reference needs REFERENCE"),
        (
            {"model_root": "/data/c/models"},
            {"CACHE_ROOT": "/data/c"},
            "--model-root (/data/c/models) must not lie inside CACHE_ROOT (/data/c)",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_named_as_written(
    flags: dict[str, str], environ: dict[str, str], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(flags, None, environ, Settings)
    assert str(caught.value).startswith(line)


def test_a_model_root_linked_into_the_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "models").symlink_to(tmp_path / "cache" / "models")
    environ = {"MODEL_ROOT": str(tmp_path / "models"), "CACHE_ROOT": str(tmp_path / "cache")}
    with pytest.raises(ConfigError, match=r"MODEL_ROOT \(.*\) must not lie inside CACHE_ROOT \(.*\)"):
        load_settings({}, None, environ, Settings)


@pytest.mark.parametrize("text", ["0 * * * *", "*/5 1-3 * * mon", "@hourly"])
def test_a_schedule_that_comes_again_is_accepted(text: str) -> None:
    load_settings({}, None, {"SWEEP_SCHEDULE": text}, Settings).check_schedule()


@pytest.mark.parametrize("text", ["61 * * * *", "* * * *", "* * * * * *", "@every 1h", "@reboot", "soon"])
def test_a_bad_schedule_names_the_variable_and_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SWEEP_SCHEDULE='.*': must be a cron expression of five fields"):
        load_settings({}, None, {"SWEEP_SCHEDULE": text}, Settings).check_schedule()


@pytest.mark.parametrize("word", sorted(values.TRUE | values.FALSE))
def test_booleans_are_read_in_any_case(word: str) -> None:
    for text in (word, word.upper(), word.title(), f"  {word}\t"):
        assert load_settings({}, None, {"OFFLINE": text}, Settings).settings.offline is (word in values.TRUE)


@limits(deadline=None)
@given(st.text(max_size=8).filter(lambda text: text.strip().lower() not in values.TRUE | values.FALSE))
def test_no_other_word_is_a_boolean(text: str) -> None:
    with pytest.raises(ValueError, match="must be 1/true"):
        values.boolean(text.strip())


@limits(deadline=None)
@given(st.fractions(min_value=0, max_value=99999, max_denominator=1000))
def test_python_callers_may_pass_exact_times_and_rates(value: Fraction) -> None:
    assert Settings(trim_start=value).trim_start == value
    if 0 < value <= 1000:
        assert Settings(fps=value).fps == value


@limits(deadline=None)
@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_time_on_the_clock_is_exact(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    expected = Fraction(hours * 3600 + minutes * 60 + seconds) + Fraction(milliseconds, 1000)
    assert values.moment(f"{hours}:{minutes:02}:{seconds:02}.{milliseconds:03}") == expected


@pytest.mark.parametrize("text", ["5m", "1_000", "0x10", "१२", "", "1,5", "--1", "1e", "+-1", "NaN", "-inf"])
def test_what_python_would_read_as_a_number_is_not_enough(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        values.number(text, 0)


def test_settings_made_in_python_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUALITY", "1")
    assert Settings().quality is None
