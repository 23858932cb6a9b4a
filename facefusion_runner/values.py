"""How settings are written: one strict parser per kind of value.

Standard library only, so that the sweeper reads its environment with the same parsers. Every parser
takes text without surrounding space and raises `ValueError` whose text says what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
FALSE = frozenset({"0", "false", "no", "off", "n", "f"})

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_CLOCK = re.compile(r"((\d{1,4}):)?([0-5]?\d):([0-5]?\d(\.\d{1,9})?)", re.ASCII)
_RATIO = re.compile(r"(\d{1,9})/(\d{1,9})|\d{1,9}(\.\d{1,9})?", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


def boolean(text: str) -> bool:
    word = text.lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError("must be 1/true/yes/on/y/t or 0/false/no/off/n/f")


def number(text: str, smallest: float, largest: float = math.inf, unit: str = "a number") -> float:
    """A finite decimal number; `5m`, `nan`, `inf`, `1_000` and `0x10` are none."""
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not (math.isfinite(value) and smallest <= value <= largest):
        raise ValueError(f"must be {unit} {limits(smallest, largest)}")
    return value


def whole(text: str, smallest: int, largest: int | None = None) -> int:
    value = int(text) if _WHOLE.fullmatch(text) else smallest - 1
    if value < smallest or (largest is not None and value > largest):
        raise ValueError(f"must be a whole number {limits(smallest, largest)}")
    return value


def limits(smallest: float, largest: float | None) -> str:
    if largest is None or math.isinf(largest):
        return f"of at least {smallest:g}"
    return f"from {smallest:g} to {largest:g}"


def choice(text: str, allowed: Collection[str]) -> str:
    word = text.lower()
    if word not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return word


def matching(text: str, pattern: str, allowed: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(f"must be {allowed}")
    return text


def moment(text: str) -> Fraction:
    """Seconds from the start of a clip, exact: `83.5`, `1:23.5`, `0:01:23.5`."""
    from fractions import Fraction  # here, because every sweep would pay for it

    if _SECONDS.fullmatch(text) or _RATIO.fullmatch(text):
        return Fraction(text)
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError("must be seconds (83.5) or HH:MM:SS (0:01:23.5)")
    return int(match[2] or 0) * 3600 + int(match[3]) * 60 + Fraction(match[4])


def rate(text: str) -> Fraction:
    """Frames per second, exact: `25`, `29.97`, `30000/1001`."""
    from fractions import Fraction

    match = _RATIO.fullmatch(text)
    if match is not None and (match[2] is None or int(match[2])):
        value = Fraction(text)
        if 0 < value <= 1000:
            return value
    raise ValueError("must be frames per second above 0 up to 1000 (25, 29.97, 30000/1001)")
