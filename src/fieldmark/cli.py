"""The command line: arguments to a workflow to text; results on stdout, progress on stderr."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fieldmark import __version__
from fieldmark.errors import FieldmarkError

EPILOG = (
    "Environment: FIELDMARK_CACHE, the folder for computed features (default ~/.cache/fieldmark); "
    "FIELDMARK_DEVICE, the torch device (default: the GPU where there is one, else the CPU)."
)

app = typer.Typer(
    name="fieldmark",
    help="Find photos, texts, videos and sounds of the same species: ask with any of the four.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Make and check manifests.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress on stderr")]
Manifest = Annotated[Path, typer.Argument(help="CSV or Parquet file that lists the items", show_default=False)]
CheckpointPath = Annotated[
    Path, typer.Option("--checkpoint", help="run folder, or one checkpoint file", show_default=False)
]
GalleryPath = Annotated[Path, typer.Option("--gallery", help="gallery folder", show_default=False)]


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_result(value: dict[str, Any], text: str, *, as_json: bool) -> None:
    _print(json.dumps(value, ensure_ascii=False) if as_json else text)


@final
class TerminalReporter:
    """Progress with the time left on stderr: a bar in a terminal, now and then a line elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._last_line = 0.0

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        """Moves the bar of `task`, or prints a line every ten seconds."""
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
        """Prints a line above the bars."""
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


def _parse_media(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    chosen = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    allowed = ("image", "text", "video", "audio")
    wrong = [name for name in chosen if name not in allowed]
    if wrong or not chosen:
        raise typer.BadParameter(f"met '{text}'; allowed are {', '.join(allowed)}, joined by commas")
    return chosen


def _show_version(*, value: bool) -> bool:
    if value:
        _print(f"fieldmark {__version__}")
        raise typer.Exit
    return value


@app.callback()
def configure(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda value: _show_version(value=value), is_eager=True, help="print the version"
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="log details, and show tracebacks of errors")] = False,
) -> None:
    """Find photos, texts, videos and sounds of the same species: ask with any of the four."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s",
    )


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", help="folder for everything the demo makes")] = Path("fieldmark-demo"),
    seed: Annotated[int, typer.Option("--seed", help="of the data and of the training")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a small synthetic four-media set, check it, train on it, evaluate, index and search it."""
    from fieldmark.workflows.demo import run_demo
    from fieldmark.workflows.encode import Host

    with TerminalReporter(quiet=quiet) as reporter:
        result = run_demo(out, seed=seed, host=Host.from_environment(reporter))
    _print_result(result.to_json(), result.to_text(), as_json=as_json)


@data_app.command("check")
def data_check(
    manifest: Manifest,
    *,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes that decode")] = 2,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode every item and list what is broken, duplicated or stands in both splits; exit 1 if there are errors."""
    from fieldmark.workflows.check import check

    with TerminalReporter(quiet=quiet) as reporter:
        report = check(manifest, workers=workers, reporter=reporter)
    _print_result(report.to_json(), report.to_text(), as_json=as_json)
    if report.has_errors:
        raise typer.Exit(1)


@data_app.command("synthesize")
def data_synthesize(
    *,
    out: Annotated[Path, typer.Option("--out", help="folder to make", show_default=False)],
    classes: Annotated[int, typer.Option("--classes", min=2, help="species")] = 20,
    items_per_medium: Annotated[
        int, typer.Option("--items-per-medium", min=4, help="items of each species and medium")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", help="the same seed makes the same birds")] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic aviary: drawn birds and clips, synthesized songs, written descriptions, and their manifest."""
    from fieldmark.data.aviary import synthesize

    with TerminalReporter(quiet=quiet) as reporter:
        manifest = synthesize(out, class_count=classes, items_per_medium=items_per_medium, seed=seed, report=reporter)
    _print(str(manifest))


@app.command()
def train(
    manifest: Manifest,
    *,
    out: Annotated[Path, typer.Option("--out", help="run folder to make", show_default=False)],
    config: Annotated[
        str | None, typer.Option("--config", help="TOML file, or a preset: fieldmark (the default), fgcrossnet, tiny")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="replace one key, such as train.lr=1e-3; may be repeated"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on the manifest's train split; validation is taken from it, by group."""
    from fieldmark.workflows.encode import Host
    from fieldmark.workflows.train import choose_config, train

    with TerminalReporter(quiet=quiet) as reporter:
        result = train(
            manifest,
            config=choose_config(config, overrides=tuple(overrides or ()), out=out, resume=resume),
            out=out,
            resume=resume,
            host=Host.from_environment(reporter),
        )
    _print_result(result.to_json(), result.to_text(), as_json=as_json)


@app.command()
def embed(
    manifest: Manifest,
    *,
    checkpoint: CheckpointPath,
    out: Annotated[
        Path, typer.Option("--out", help="embeddings folder; one begun before is completed", show_default=False)
    ],
    split: Annotated[
        Literal["train", "validation", "test", "all"], typer.Option("--split", help="which items")
    ] = "test",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the embedding of every segment."""
    from fieldmark.workflows.embed import embed
    from fieldmark.workflows.encode import Host

    with TerminalReporter(quiet=quiet) as reporter:
        result = embed(manifest, checkpoint=checkpoint, out=out, split=split, host=Host.from_environment(reporter))
    _print_result(result.to_json(), result.to_text(), as_json=as_json)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="embeddings folder, made by `fieldmark embed`", show_default=False)],
    *,
    protocol: Annotated[
        Literal["strict", "paper"], typer.Option("--protocol", help="paper: only for comparison with published numbers")
    ] = "strict",
    as_json: Json = False,
) -> None:
    """Print the 12 bi-modality and 4 multi-modality MAPs beside chance."""
    from fieldmark.workflows.evaluate import evaluate

    result = evaluate(folder, protocol=protocol)
    _print_result(result.to_json(), result.to_text(), as_json=as_json)


@app.command()
def index(
    source: Annotated[
        Path, typer.Argument(help="manifest, folder of files without labels, or embeddings folder", show_default=False)
    ],
    *,
    gallery: GalleryPath,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="run folder or checkpoint; not needed for a gallery that exists")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add items to a gallery, made where there is none; items that are there unchanged are passed over."""
    from fieldmark.workflows.encode import Host
    from fieldmark.workflows.index import index

    with TerminalReporter(quiet=quiet) as reporter:
        result = index(source, checkpoint=checkpoint, gallery=gallery, host=Host.from_environment(reporter))
    _print_result(result.to_json(), result.to_text(), as_json=as_json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="a file of any medium, or quoted text", show_default=False)],
    *,
    gallery: GalleryPath,
    medium: Annotated[
        str | None, typer.Option("--medium", help="only hits of these media, such as image,audio; default all")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="number of hits")] = 10,
    as_json: Json = False,
) -> None:
    """Rank the gallery's items by how near they are to a photo, a text, a video or a sound."""
    media_names = _parse_media(medium)  # before the libraries load, so that a wrong name is told at once
    from fieldmark.types import Medium
    from fieldmark.workflows.encode import Host
    from fieldmark.workflows.search import Gallery

    media = tuple(Medium(name) for name in media_names)
    result = Gallery.open(gallery, host=Host.from_environment()).search(query, k=k, media=media)
    _print_result(result.to_json(), result.to_text(), as_json=as_json)


def main() -> None:
    """Runs the command line; an error of fieldmark or of the file system is one message and exit 1, wrong usage 2."""
    debug = "--debug" in sys.argv
    try:
        app(prog_name="fieldmark")
    except (FieldmarkError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"fieldmark: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("fieldmark: interrupted\n")
        sys.exit(130)
