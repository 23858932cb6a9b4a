"""Links that let whoever has them fetch one thing of one task, for a while."""

from __future__ import annotations

import hashlib
import time
from typing import Final, Literal

from itsdangerous import Signer

Purpose = Literal["result", "preview"]

_STEP: Final = 600
"""Seconds by which moments are rounded up, so that a link stays the same when it is asked for again."""


class Links:
    """Signs and checks links."""

    def __init__(self, secret: bytes, ttl: float) -> None:
        self._secret = secret
        self._ttl = ttl

    def query(self, purpose: Purpose, task_id: str, until: float | None) -> tuple[str, int]:
        """The link's query, and when it ends; not after `until`, when the task is deleted."""
        expires = int(-(-(time.time() + self._ttl) // _STEP) * _STEP)
        if until is not None:
            expires = min(expires, int(until) + 1)
        return f"expires={expires}&signature={self._signature(purpose, task_id, expires)}", expires

    def allows(self, purpose: Purpose, task_id: str, expires: int, signature: str) -> bool:
        """Whether the link was made here and is still good."""
        signer, text = self._signer(purpose), f"{task_id}.{expires}"
        return signer.verify_signature(text, signature) and time.time() < expires

    def _signature(self, purpose: Purpose, task_id: str, expires: int) -> str:
        return self._signer(purpose).get_signature(f"{task_id}.{expires}").decode()

    def _signer(self, purpose: Purpose) -> Signer:
        return Signer(self._secret, salt=purpose, digest_method=hashlib.sha256)
