"""Links that let whoever has them fetch one thing of one task, for a while."""

from __future__ import annotations

import hashlib
import time
from typing import Final, Literal

from itsdangerous import Signer

Purpose = Literal["result", "preview"]

_LONGEST_STEP: Final = 600


class Links:
    """Signs and checks links."""

    def __init__(self, secret: bytes, ttl: float) -> None:
        self._secret = secret
        self._ttl = ttl
        # Moments are rounded up, so that a link stays the same for a while when it is asked for again; by a
        # sixth of what it is good for at most, so that nobody has a link for much longer than was set.
        self._step = max(int(min(_LONGEST_STEP, ttl / 6)), 1)

    def query(self, purpose: Purpose, task_id: str, until: float | None) -> tuple[str, int]:
        """The link's query, and when it ends; not after `until`, when the task is deleted."""
        expires = int(-(-(time.time() + self._ttl) // self._step) * self._step)
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
