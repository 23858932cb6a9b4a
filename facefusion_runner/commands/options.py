"""Flags made from the declaration of the settings, and how a command reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from facefusion_runner import kinds, loading
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])
S = TypeVar("S", bound=Settings)

PRECEDENCE: Final = (
    "Every setting has one name: --cache-ttl-seconds as a flag, cache_ttl_seconds in the JSON of --config, "
    "CACHE_TTL_SECONDS in the environment. A flag beats the JSON, which beats the environment. "
    "A true|false flag alone means true; --no-overwrite is --overwrite false."
)
EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 failed, 2 bad input or configuration, 3 refused by policy, 4 cancelled."
)


@dataclass(slots=True)
class Invocation:
    """One run of the program: its environment, and how its errors are shown."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    json: bool = False
    """Errors are printed as JSON on stdout, too."""
    debug: bool = False
    """A defect shows its traceback."""


class SettingOption(click.Option):
    """The flag of one setting; booleans may be given without a value and as `--no-…`."""

    def __init__(self, name: str, info: FieldInfo, section: str) -> None:
        form = kinds.form_of(info.metadata)
        valueless: dict[str, Any] = (
            {"is_flag": False, "flag_value": "true"} if info.annotation is bool else {}
        )
        super().__init__(
            [name, loading.flag(name)],
            metavar=form.text,
            multiple=form.repeatable,
            help=_help(info),
            **valueless,
        )
        self.section = section


class Negation(click.Option):
    """`--no-overwrite` for `--overwrite false`."""

    def __init__(self, name: str) -> None:
        super().__init__([f"no_{name}", f"--no-{name.replace('_', '-')}"], is_flag=True, hidden=True)


class SettingsCommand(click.Command):
    """A command whose help shows the settings section by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def setting_options(*sections: type[BaseModel]) -> Callable[[Function], Function]:
    """Gives a command `--config`, `--debug` and one flag per setting of the sections."""

    def decorate(function: Function) -> Function:
        parameters: list[click.Parameter] = []
        for section in sections:
            title = (section.__doc__ or "").strip()
            for name, info in section.model_fields.items():
                parameters.append(SettingOption(name, info, title))
                if info.annotation is bool:
                    parameters.append(Negation(name))
        parameters.append(click.Option(["--config"], metavar="FILE", help="JSON file with settings."))
        parameters.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of a defect."))
        # click collects the parameters of decorators from the last to the first.
        existing = getattr(function, "__click_params__", [])
        function.__click_params__ = [*existing, *reversed(parameters)]  # type: ignore[attr-defined]
        return function

    return decorate


def load(ctx: click.Context, given: dict[str, Any]) -> Loaded[Settings]:
    """The settings in force for a command; `given` are its parameters as click read them."""
    return load_as(Settings, ctx, given)


def load_as(kind: type[S], ctx: click.Context, given: dict[str, Any]) -> Loaded[S]:
    """The same for another collection of settings."""
    invocation = ctx.ensure_object(Invocation)
    invocation.debug |= bool(given["debug"])
    config = None if given["config"] is None else Path(given["config"])
    origins = loading.gather(flags_of(given, kind), config, invocation.environ, kind)
    if "progress" in given and str(origins["progress"].raw).strip().lower() == "json":
        invocation.json = True
    loaded = loading.check(origins, config, kind)
    invocation.debug |= loaded.settings.log_level == "debug"
    return loaded


def flags_of(given: dict[str, Any], kind: type[Settings] = Settings) -> dict[str, str | Sequence[str]]:
    """The settings among a command's parameters that were given as flags."""
    flags: dict[str, str | Sequence[str]] = {}
    for name in kind.model_fields:
        if given.get(name) not in (None, ()):
            flags[name] = given[name]
        if given.get(f"no_{name}"):
            flags[name] = "false"
    return flags


def epilog(*examples: str) -> str:
    r"""Examples and what holds for every command; `\b` keeps click from joining the lines."""
    lines = "\n".join(f"  {example}" for example in examples)
    return f"\b\nExamples:\n{lines}\n\n{PRECEDENCE}\n\n{EXIT_CODES}"


def written(value: object) -> str:
    """A setting's value as one would write it."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        separator = os.pathsep if isinstance(value[0], Path) else ","
        return separator.join(written(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _help(info: FieldInfo) -> str:
    default = written(info.get_default(call_default_factory=True))
    return f"{info.description} [{default}]" if default else str(info.description)
