"""The answers of the server to the searches of a page, as the page itself got them.

The browser does not always keep the bodies of its answers for those who ask it from outside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

RECORD_ANSWERS = """
window.searchAnswers = [];
const plainFetch = window.fetch;
window.fetch = async (...asked) => {
  const answer = await plainFetch(...asked);
  if (answer.url.endsWith("/v1/search")) {
    window.searchAnswers.push(answer.clone().json().catch(() => null));
  }
  return answer;
};
"""
"""Runs in each page before its own scripts."""


@dataclass
class SearchAnswer:
    """The body of an answer; empty until it is there."""

    body: dict[str, Any] = field(default_factory=dict)


@contextmanager
def expect_answer(page: "Page") -> Iterator[SearchAnswer]:
    """Wait, after the block, for the answer to the search that it starts."""
    count, answer = page.evaluate("() => window.searchAnswers.length"), SearchAnswer()
    yield answer
    page.wait_for_function("count => window.searchAnswers.length > count", arg=count)
    answer.body = page.evaluate("count => window.searchAnswers[count]", count)
