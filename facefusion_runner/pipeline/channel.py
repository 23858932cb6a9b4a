"""A bounded queue between two stages that can be ended from either side.

`queue.Queue` cannot wake a blocked `put` or `get` when the task is over (its `shutdown` needs
Python 3.13), and a stage that is left waiting is a process that never ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Aborted(Exception):
    """The task is over for another reason; the stage that sees this just ends."""


class Channel(Generic[T]):
    """Items in order, at most `capacity` at a time, from one producer to one consumer."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._aborted = False

    def put(self, item: T) -> None:
        """Waits for room. Raises Aborted once `abort` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or len(self._items) < self._capacity)
            if self._aborted:
                raise Aborted
            self._items.append(item)
            self._changed.notify_all()

    def take(self, most: int) -> list[T]:
        """Waits for one item, then takes up to `most` of those that are there; empty at the end.

        Raises Aborted once `abort` was called.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or self._closed or bool(self._items))
            if self._aborted:
                raise Aborted
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._changed.notify_all()
            return taken

    def __iter__(self) -> Iterator[T]:
        while items := self.take(1):
            yield items[0]

    def close(self) -> None:
        """The producer has put its last item."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Ends both sides at their next call and lets go of the items."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()
