"""API keys: several, each with a name, known by their SHA-256 alone.

A key is 32 random bytes, so that its plain hash gives nothing away; a slow hash is for what people make up.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from facefusion_runner.errors import ConfigError
from facefusion_runner.settings import API_KEY, ServiceSettings

PREFIX: Final = "ffr_"


class Keys:
    """The keys of a service; without any, everybody is let in."""

    def __init__(self, entries: Iterable[str]) -> None:
        """`entries`: NAME:SHA256 in hexadecimal."""
        self._digests = [entry.split(":") for entry in entries]

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """Raises ConfigError for a file that cannot be read or holds something else."""
        return cls((*settings.api_keys, *_from_file(settings.api_keys_file)))

    def __len__(self) -> int:
        return len(self._digests)

    def name_of(self, key: str) -> str | None:
        """The name of a key; takes the same time for every key that is wrong."""
        presented = digest(key)
        found = None
        for name, known in self._digests:
            if hmac.compare_digest(presented, known.lower()):
                found = name
        return found


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _from_file(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"API_KEYS_FILE={path} cannot be read: {error}") from None
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for number, entry in enumerate(entries, 1):
        if not re.fullmatch(API_KEY, entry):
            raise ConfigError(f"API_KEYS_FILE={path}: entry {number} is not NAME:SHA256")
    if not entries:
        # Taken as "no keys", it would let everybody in.
        raise ConfigError(f"API_KEYS_FILE={path} holds no key; `facefusion-runner keys new NAME` makes one")
    return entries
