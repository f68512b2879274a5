"""Options that commands share, printed results, and progress in a terminal."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fieldmark.io import encode_report

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not print progress.")]
Manifest = Annotated[Path, typer.Argument(help="CSV or Parquet file that lists the items.", show_default=False)]
ManifestOut = Annotated[Path, typer.Option("--out", help="Manifest to write (.csv or .parquet).", show_default=False)]
CheckpointPath = Annotated[
    Path, typer.Option("--checkpoint", help="Run folder or checkpoint file.", show_default=False)
]
FailureShare = Annotated[
    float | None,
    typer.Option(
        "--failure-share",
        min=0,
        max=1,
        help="Share of the files that may be unusable, from 0 to 1. With more, all that can be done is done, and "
        "the command exits with 1. [default: no limit]",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out files and folders by a pattern as in .gitignore, such as 'raw/' or '*.tmp'. Repeatable. "
        "A file .fieldmarkignore in the folder lists more.",
    ),
]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="Also follow links that lead out of the folder.")]
GalleryPath = Annotated[
    Path, typer.Option("--gallery", help="Gallery folder, or milvus://HOST:PORT/NAME.", show_default=False)
]


def print_line(text: str) -> None:
    """Print a line of a result on stdout."""
    sys.stdout.write(text + "\n")


def print_result(report: object, text: str, *, as_json: bool) -> None:
    """Print a result as one JSON object, or as text."""
    print_line(json.dumps(encode_report(report), ensure_ascii=False) if as_json else text)


@final
class TerminalReporter:
    """Progress and time left on stderr: a bar in a terminal, a line every ten seconds elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._last_line = 0.0

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        """Move the bar of `task`, or print a line every ten seconds."""
        if self._quiet:
            return
        if self._console.is_terminal:
            self._move_bar(task, done=done, total=total, note=note)
            return
        now = time.monotonic()
        started = self._started.setdefault(task, now)
        if now - self._last_line >= 10 or (done == total and now - started >= 1):
            self._last_line = now
            left = (now - started) * (total - done) / max(done, 1)
            line = f"{task} {done}/{total}, {left:.0f} s left {note}".rstrip()
            self._console.print(line, soft_wrap=True, markup=False)
        if done == total:
            del self._started[task]

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        if not self._quiet:
            console = self._progress.console if self._progress is not None else self._console
            console.print(message, soft_wrap=True, markup=False)

    def __enter__(self) -> "TerminalReporter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _move_bar(self, task: str, *, done: int, total: int, note: str) -> None:
        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=self._console)
            self._progress.start()
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=total, note=note)
        self._progress.update(self._tasks[task], completed=done, total=total, note=note)
        if done == total:
            self._progress.stop_task(self._tasks.pop(task))


def parse_media(text: str | None) -> tuple[str, ...]:
    """Parse a list of media such as `image,audio`; None gives an empty tuple."""
    if text is None:
        return ()
    chosen = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    allowed = ("image", "text", "video", "audio")
    wrong = [name for name in chosen if name not in allowed]
    if wrong or not chosen:
        raise typer.BadParameter(
            f"'{text}' is not a list of media. Give {', '.join(allowed)}, or several separated by commas."
        )
    return chosen


def parse_pairs(texts: Sequence[str] | None, *, option: str) -> dict[str, str]:
    """Parse texts of the form `KEY=VALUE`; None gives an empty dict."""
    pairs = [text.partition("=") for text in texts or ()]
    for key, equals, value in pairs:
        if not (key.strip() and equals and value.strip()):
            raise typer.BadParameter(
                f"{option} takes NAME=VALUE, but got '{key}{equals}{value}'. Give a name and a value."
            )
    return {key.strip(): value.strip() for key, _, value in pairs}
