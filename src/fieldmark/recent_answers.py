"""Answers that are worth keeping for a while."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, final

from cachetools import LRUCache

_Answer = TypeVar("_Answer")


@final
class RecentAnswers(Generic[_Answer]):
    """The last answers to some question, by key; several threads may ask.

    Args:
        count: Answers that are kept.
    """

    def __init__(self, count: int) -> None:
        self._answers: LRUCache[Hashable, _Answer] = LRUCache(count)
        self._guard = threading.Lock()

    def recall(self, key: Hashable, find: Callable[[], _Answer]) -> _Answer:
        """Return the answer for a key; find it where it is not kept."""
        with self._guard:
            if key in self._answers:
                return self._answers[key]
        answer = find()
        with self._guard:
            self._answers[key] = answer
        return answer
