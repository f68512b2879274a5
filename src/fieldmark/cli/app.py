"""The commands, and how a run of the command line begins and ends."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldmark._version import __version__
from fieldmark.cli.checkpoint import checkpoint_app
from fieldmark.cli.data import data_app
from fieldmark.cli.evaluation import evaluation_app
from fieldmark.cli.gallery import gallery_app
from fieldmark.cli.search import marks_app, search
from fieldmark.cli.serving import run_server, serving_app
from fieldmark.cli.terminal import (
    CheckpointPath,
    GalleryPath,
    Json,
    Manifest,
    Quiet,
    TerminalReporter,
    print_line,
    print_result,
)
from fieldmark.errors import FieldmarkError

EPILOG = (
    "Environment: FIELDMARK_CACHE, the folder for computed features (default ~/.cache/fieldmark); "
    "FIELDMARK_DEVICE, the torch device (default: the GPU where there is one, else the CPU); "
    "FIELDMARK_TOKEN, the token that `serve` asks for (default: none)."
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
app.add_typer(data_app, name="data")
app.add_typer(marks_app, name="marks")
app.add_typer(evaluation_app)
app.add_typer(gallery_app, name="gallery")
app.add_typer(serving_app)
app.add_typer(checkpoint_app, name="checkpoint")


def _show_version(*, value: bool) -> bool:
    if value:
        print_line(f"fieldmark {__version__}")
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
    serve: Annotated[bool, typer.Option("--serve", help="open the gallery as a page at the end, on this machine")] = (
        False
    ),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a small synthetic four-media set, check it, train on it, evaluate, index and search it."""
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.demo import run_demo

    with TerminalReporter(quiet=quiet) as reporter:
        result = run_demo(out, seed=seed, runtime=Runtime.from_environment(reporter))
    print_result(result.to_json(), result.to_text(), as_json=as_json)
    if serve:
        run_server(out / "gallery", quiet=quiet)


@app.command()
def train(
    manifest: Manifest,
    *,
    out: Annotated[Path, typer.Option("--out", help="run folder to make", show_default=False)],
    config: Annotated[
        str | None,
        typer.Option(
            "--config", help="TOML file, or a preset: fieldmark (the default), fgcrossnet, fgcrossnet_released, tiny"
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="replace one key, such as train.lr=1e-3; may be repeated"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on the manifest's train split; validation is taken from it, by group.

    On several GPUs of one machine: torchrun --nproc-per-node N --no-python fieldmark train ...
    """
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.train import choose_config, train

    with TerminalReporter(quiet=quiet) as reporter:
        result = train(
            manifest,
            config=choose_config(config, overrides=tuple(overrides or ()), out=out, resume=resume),
            out=out,
            resume=resume,
            runtime=Runtime.from_environment(reporter),
        )
    if result.is_first:
        print_result(result.to_json(), result.to_text(), as_json=as_json)


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
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.embed import embed

    with TerminalReporter(quiet=quiet) as reporter:
        result = embed(
            manifest, checkpoint=checkpoint, out=out, split=split, runtime=Runtime.from_environment(reporter)
        )
    print_result(result.to_json(), result.to_text(), as_json=as_json)


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
    set_name: Annotated[
        str | None, typer.Option("--set", help="the source's set in the gallery; default: named like the source")
    ] = None,
    allow_drop: Annotated[
        bool, typer.Option("--allow-drop", help="also where more than half of the set is gone from the source")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a set of a gallery what a source is: new items are added, unchanged ones passed over, gone ones dropped."""
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.index import index

    with TerminalReporter(quiet=quiet) as reporter:
        result = index(
            source,
            checkpoint=checkpoint,
            gallery=gallery,
            set_name=set_name,
            allow_drop=allow_drop,
            runtime=Runtime.from_environment(reporter),
        )
    print_result(result.to_json(), result.to_text(), as_json=as_json)


app.command()(search)


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
