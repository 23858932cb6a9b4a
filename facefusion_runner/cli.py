"""The command line: what every command shares, and how every failure ends.

Nothing heavy is imported before signals are handled.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from facefusion_runner.errors import Cancelled, ConfigError, RunnerError, StorageError
from facefusion_runner.progress import silence
from facefusion_runner.signals import Interrupted, interrupted_by_signals

if TYPE_CHECKING:
    from facefusion_runner.commands.options import Invocation


def main() -> NoReturn:
    """The console script."""
    _open_missing_streams()
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs one command and gives its exit code."""
    try:
        with interrupted_by_signals():
            return _run(arguments, environ)
    except (Interrupted, KeyboardInterrupt):
        return _fail(Cancelled("interrupted"), as_json=False)


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    import click

    from facefusion_runner.commands.options import Invocation
    from facefusion_runner.commands.root import root

    invocation = Invocation(environ, _asks_for_json(arguments, environ), "--debug" in arguments)
    try:
        code = root.main(list(arguments), "facefusion-runner", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.ClickException as error:
        return _fail(ConfigError(_usage(error)), invocation.json)
    except (Interrupted, click.Abort):
        return _fail(Cancelled("interrupted"), invocation.json)
    except RunnerError as error:
        if invocation.debug:
            traceback.print_exc()
        return _fail(error, invocation.json)
    except BrokenPipeError:
        silence(sys.stdout)
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _defect(error, invocation)
        silence(sys.stdout)
        what = error.filename or "what was asked for"
        return _fail(StorageError(f"{what} cannot be written: {error.strerror}"), as_json=False)
    except Exception as error:
        return _defect(error, invocation)


def _fail(error: RunnerError, as_json: bool) -> int:
    """One line for people and, where asked for, one for programs."""
    message = " ".join(str(error).split()) or type(error).__name__
    _print(f"error: {message}", sys.stderr)
    if as_json:
        detail = getattr(error, "detail", None)
        data = {"error": {"code": error.code, "message": message, "detail": detail}}
        _print(json.dumps(data), sys.stdout)
    return error.exit_code


def _defect(error: Exception, invocation: Invocation) -> int:
    if invocation.debug:
        traceback.print_exc()
    hint = "" if invocation.debug else "; --debug shows where"
    what = f"{type(error).__name__}: {error}"
    return _fail(RunnerError(f"this is a defect of facefusion-runner: {what}{hint}"), invocation.json)


def _usage(error: Any) -> str:
    path = error.ctx.command_path if getattr(error, "ctx", None) else "facefusion-runner"
    return f"{error.format_message().rstrip('.')}; see {path} --help"


def _asks_for_json(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether errors found before the settings are read go to a program, too."""
    if (
        "--json" in arguments
        or "--progress=json" in arguments
        or ("--progress", "json") in pairwise(arguments)
    ):
        return True
    given = any(argument.split("=")[0] == "--progress" for argument in arguments)
    return not given and environ.get("PROGRESS", "").strip().lower() == "json"


def _print(text: str, stream: Any) -> None:
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):
        silence(stream)


def _open_missing_streams() -> None:
    """Where the parent closed a standard descriptor, the next file opened would get its number, and what
    a library prints would end up in that file."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
