"""What was drawn before, kept in memory up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import final


@final
class ByteCache:
    """Byte strings by key; the one that was not asked for the longest goes first."""

    def __init__(self, *, max_bytes: int) -> None:
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get_or_make(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is kept under a key; made, and kept, where there is nothing."""
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._guard:
            self.held_bytes += len(made) - len(self._kept.pop(key, b""))
            self._kept[key] = made
            while self.held_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.held_bytes -= len(dropped)
        return made
