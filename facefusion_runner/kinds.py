"""The kinds of settings: how a value from the environment, JSON, a flag or Python becomes a field.

Each kind is pydantic metadata to put into `Annotated`: a validator and the `Form` help texts show.
Empty text and null mean the default everywhere.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticUseDefault

from facefusion_runner import values

Kind = tuple[BeforeValidator, "Form"]


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written, for help texts."""

    text: str
    repeatable: bool = False
    """True: the flag may be given several times, one item each."""


def text_of(raw: object) -> str:
    """The text a parser reads; line breaks would become lines of a crontab or of a log."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if not isinstance(raw, str | int | float | Fraction | os.PathLike):
        raise ValueError("must be one value, not a list or an object")
    text = str(raw)
    if any(character in text for character in "\n\r\0"):
        raise ValueError("must not hold a line break or NUL")
    return text


def single(parse: Callable[[str], object], form: str) -> Kind:
    """One value; space around it does not count."""

    def read(raw: object) -> object:
        text = "" if raw is None else text_of(raw).strip()
        if not text:
            raise PydanticUseDefault
        return parse(text)

    return BeforeValidator(read), Form(form)


def several(parse: Callable[[str], object], form: str) -> Kind:
    """Values separated by commas, or a list; each is kept once."""

    def read(raw: object) -> object:
        items = raw if isinstance(raw, list | tuple) else text_of("" if raw is None else raw).split(",")
        texts = [text_of(item).strip() for item in items]
        parsed = tuple(dict.fromkeys(parse(text) for text in texts if text))
        if not parsed:
            raise PydanticUseDefault
        return parsed

    return BeforeValidator(read), Form(form)


def boolean() -> Kind:
    return single(values.boolean, "true|false")


def number(form: str, smallest: float, largest: float = math.inf, unit: str = "a number") -> Kind:
    return single(partial(values.number, smallest=smallest, largest=largest, unit=unit), form)


def whole(form: str, smallest: int, largest: int | None = None) -> Kind:
    return single(partial(values.whole, smallest=smallest, largest=largest), form)


def one_of(*allowed: str) -> Kind:
    return single(partial(values.choice, allowed=allowed), "|".join(allowed))


def some_of(*allowed: str) -> Kind:
    return several(partial(values.choice, allowed=allowed), ",".join(allowed))


def word(form: str, allowed: str, pattern: str = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}") -> Kind:
    return single(partial(values.matching, pattern=pattern, allowed=allowed), form)


def words(form: str, allowed: str, pattern: str = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}") -> Kind:
    return several(partial(values.matching, pattern=pattern, allowed=allowed), form)


def path() -> Kind:
    """A path, whose spaces belong to the name; a leading `~` is the home directory."""

    def read(raw: object) -> object:
        text = "" if raw is None else text_of(raw)
        if not text:
            raise PydanticUseDefault
        return Path(os.path.expanduser(text))

    return BeforeValidator(read), Form("PATH")


def paths() -> Kind:
    """Paths separated by `os.pathsep`, or a list."""

    def read(raw: object) -> object:
        items = (
            raw if isinstance(raw, list | tuple) else text_of("" if raw is None else raw).split(os.pathsep)
        )
        texts = [text_of(item) for item in items]
        if not any(texts):
            raise PydanticUseDefault
        return tuple(Path(os.path.expanduser(text)) for text in texts if text)

    return BeforeValidator(read), Form("PATH", repeatable=True)


def absolute_path() -> Kind:
    """A path that does not hang on where the program was started; nothing is expanded."""

    def read(raw: object) -> object:
        text = "" if raw is None else text_of(raw)
        if not text:
            raise PydanticUseDefault
        if not os.path.isabs(text):
            raise ValueError("must be an absolute path")
        return Path(text)

    return BeforeValidator(read), Form("PATH")


def cache_root() -> Kind:
    """Nothing is expanded and empty is refused: what is deleted below it must not hang on chance."""

    def read(raw: object) -> object:
        text = text_of("" if raw is None else raw)
        if not os.path.isabs(text):
            raise ValueError("must be an absolute path")
        return Path(text)

    return BeforeValidator(read), Form("PATH")


def selection() -> Kind:
    """`all`, `largest`, `reference`, or a tuple of numbers."""

    def read(raw: object) -> object:
        parts = raw if isinstance(raw, list | tuple) else ("" if raw is None else raw,)
        text = ",".join(text_of(part) for part in parts).strip().lower()
        if not text:
            raise PydanticUseDefault
        if text in ("all", "largest", "reference"):
            return text
        if re.fullmatch(r"\d{1,4}(\s*,\s*\d{1,4})*", text, re.ASCII):
            return tuple(dict.fromkeys(int(part) for part in text.split(",")))
        raise ValueError("must be all, largest, reference, or numbers from the left: 0 or 0,2")

    return BeforeValidator(read), Form("all|largest|reference|N,N")


def sides(largest: float) -> Kind:
    """Four numbers clockwise from the top; two mean top/bottom and left/right, one all four."""
    unit = "1, 2 or 4 numbers (top,right,bottom,left)"

    def read(raw: object) -> object:
        items = raw if isinstance(raw, list | tuple) else text_of("" if raw is None else raw).split(",")
        texts = [text_of(item).strip() for item in items]
        if not any(texts):
            raise PydanticUseDefault
        numbers = [values.number(text, 0, largest, unit) for text in texts]
        if len(numbers) not in (1, 2, 4):
            raise ValueError(f"must be {unit} {values.limits(0, largest)}")
        return tuple((numbers * 4)[:4])

    return BeforeValidator(read), Form("TOP,RIGHT,BOTTOM,LEFT")


def form_of(metadata: list[Any]) -> Form:
    """The `Form` among a field's metadata."""
    return next(item for item in metadata if isinstance(item, Form))
