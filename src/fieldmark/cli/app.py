"""The top-level commands and the entry point of the command line."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldmark._version import __version__
from fieldmark.cli.checkpoint import checkpoint_app
from fieldmark.cli.data import data_app
from fieldmark.cli.encoders import (
    AudioEncoder,
    Descriptions,
    ImageEncoder,
    Labels,
    NamesFile,
    TextEncoder,
    TraitsFile,
    VideoEncoder,
    make_choice,
)
from fieldmark.cli.evaluation import evaluation_app
from fieldmark.cli.gallery import gallery_app, marks_app, search
from fieldmark.cli.models import models_app
from fieldmark.cli.serving import run_server, serving_app
from fieldmark.cli.terminal import (
    CheckpointPath,
    Exclude,
    FailureShare,
    FollowLinks,
    GalleryPath,
    Json,
    Manifest,
    Quiet,
    TerminalReporter,
    print_line,
    print_result,
)
from fieldmark.errors import ConfigError, FieldmarkError

_EPILOG = (
    "Environment variables: FIELDMARK_CACHE, the folder for computed features and added models (default: "
    "~/.cache/fieldmark); "
    "FIELDMARK_DEVICE, the PyTorch device (default: the GPU if there is one, else the CPU); "
    "FIELDMARK_TOKEN, the token that `serve` requires from its clients (default: none); "
    "FIELDMARK_MILVUS_TOKEN, USER:PASSWORD for a gallery in Milvus (default: none); "
    "FIELDMARK_MILVUS_CA, the certificates that milvus+tls:// trusts (default: the system's)."
)

app = typer.Typer(
    name="fieldmark",
    help="Search photos, texts, videos and sounds by species. Any of the four can be the query.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.add_typer(marks_app, name="marks")
app.add_typer(evaluation_app)
app.add_typer(gallery_app, name="gallery")
app.add_typer(serving_app)
app.add_typer(checkpoint_app, name="checkpoint")
app.add_typer(models_app, name="models")


def _show_version(*, value: bool) -> bool:
    if value:
        print_line(f"fieldmark {__version__}")
        raise typer.Exit
    return value


@app.callback()
def _configure(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _show_version(value=value),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log details, and show the traceback of an error.")] = False,
) -> None:
    """Search photos, texts, videos and sounds by species. Any of the four can be the query."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s",
    )


@app.command("demo")
def _make_demo(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path(
        "fieldmark-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the data and the training.")] = 0,
    serve: Annotated[
        bool, typer.Option("--serve", help="At the end, serve the gallery as a web page on this machine.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a small synthetic data set, train on it and search it.

    The data set holds drawn birds, short clips, synthesized songs and descriptions. The demo also checks the data,
    evaluates the model and builds a gallery. It needs no network and no pretrained weights.
    """
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.demo import run_demo

    with TerminalReporter(quiet=quiet) as reporter:
        result = run_demo(out, seed=seed, runtime=Runtime.from_environment(reporter))
    print_result(result, result.to_text(), as_json=as_json)
    if serve:
        run_server(out / "gallery", quiet=quiet)


@app.command("train")
def _train(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST|GALLERY",
            help="CSV or Parquet file that lists the items, or a gallery.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", help="Run folder to create.", show_default=False)],
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            help="TOML file or preset: fieldmark (the default), fgcrossnet, fgcrossnet_released or tiny.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override one key of the configuration, such as train.lr=1e-3. Repeatable.",
        ),
    ] = None,
    image_encoder: ImageEncoder = None,
    text_encoder: TextEncoder = None,
    audio_encoder: AudioEncoder = None,
    video_encoder: VideoEncoder = None,
    labels: Labels = None,
    names: NamesFile = None,
    descriptions: Descriptions = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    names_map: Annotated[
        Path | None,
        typer.Option(
            "--names-map",
            help="CSV with class_name and name: which species a class stands for. Needed only where the names that "
            "encoders know do not tell; `fieldmark data describe` lists those classes.",
        ),
    ] = None,
    failure_share: Annotated[
        float | None,
        typer.Option(
            "--failure-share",
            min=0,
            max=1,
            help="Share of the items that may be unusable, from 0 to 1. With more, training does not start: the model "
            "would lack them. [default: limits.failure_share of the configuration, 0.05]",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on the train split of a manifest, or on the items of a gallery that have a class.

    What no label covers is searched as without training: media without a labelled item, and other classes. A gallery
    is trained with its own encoders. Its items have the classes of their source, and those given with `fieldmark marks`
    or on the page; their files must be where they were when they were indexed.

    Validation items are held out of the train split, whole groups at a time. To train on several GPUs of one
    machine, run: torchrun --nproc-per-node N --no-python fieldmark train ...
    """
    from fieldmark.encoder_choice.choice import override_encoders
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.train import choose_config, train

    choice = make_choice(
        image=image_encoder,
        text=text_encoder,
        audio=audio_encoder,
        video=video_encoder,
        labels=labels,
        names_file=names,
        descriptions=descriptions,
    )

    with TerminalReporter(quiet=quiet) as reporter:
        runtime = Runtime.from_environment(reporter)
        limits = () if failure_share is None else (f"limits.failure_share={failure_share}",)
        chosen = choose_config(config, overrides=(*(overrides or ()), *limits), out=out, resume=resume, source=manifest)
        result = train(
            manifest,
            config=override_encoders(chosen, choice, models=runtime.models_folder, reporter=reporter),
            out=out,
            resume=resume,
            names_map=names_map,
            runtime=runtime,
        )
    if result.is_first:
        print_result(result, result.to_text(), as_json=as_json)


@app.command("embed")
def _embed(
    manifest: Manifest,
    *,
    checkpoint: CheckpointPath,
    out: Annotated[
        Path, typer.Option("--out", help="Embeddings folder to create, or to complete.", show_default=False)
    ],
    split: Annotated[
        Literal["train", "validation", "test", "all"], typer.Option("--split", help="Split whose items to embed.")
    ] = "test",
    findings: Annotated[
        Path | None,
        typer.Option(
            "--findings",
            help="Output of `fieldmark data check --json`. Near duplicates of training items in it count as leaks.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="NUMBER/COUNT",
            help="Embed one shard of the items only, such as 3/16. Any number of processes may work at once, each at a "
            "shard. The last one completes the folder. [default: all items]",
        ),
    ] = None,
    shard_count: Annotated[
        int | None,
        typer.Option(
            "--shards",
            min=1,
            max=1_000_000,
            help="Number of shards that a new folder is cut into. [default: none, or one for 256 items with --ray]",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Let a Ray cluster do the work: HOST:PORT of its head, or auto. Needs the extra cluster. "
            "[default: this process]",
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option(
            "--ray-workers", min=1, help="Processes that hold the model. [default: one for each GPU, else for each CPU]"
        ),
    ] = None,
    failure_share: FailureShare = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the embedding of every segment of the items.

    MANIFEST and --out may be addresses in an object store, such as s3://bucket/birds.csv, if the driver of fsspec for
    it is installed (s3fs, gcsfs).
    """
    from fieldmark.ray_cluster import RayOptions
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.embed import embed

    with TerminalReporter(quiet=quiet) as reporter:
        result = embed(
            manifest,
            checkpoint=checkpoint,
            out=out,
            split=split,
            findings=findings,
            shard=shard,
            shard_count=shard_count,
            cluster=None if ray is None else RayOptions(ray, worker_count=ray_workers),
            runtime=Runtime.from_environment(reporter),
        )
    print_result(result, result.to_text(), as_json=as_json)
    result.check_failures(allowed_share=failure_share)


@app.command("index")
def _index(
    source: Annotated[
        Path, typer.Argument(help="Manifest, folder of unlabeled files, or embeddings folder.", show_default=False)
    ],
    *,
    gallery: GalleryPath,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Run folder or checkpoint file for a new gallery. [default: encoders alone, without training]",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration that names the encoders of a new gallery without training."),
    ] = None,
    image_encoder: ImageEncoder = None,
    text_encoder: TextEncoder = None,
    audio_encoder: AudioEncoder = None,
    video_encoder: VideoEncoder = None,
    labels: Labels = None,
    names: NamesFile = None,
    descriptions: Descriptions = None,
    traits: TraitsFile = None,
    set_name: Annotated[
        str | None, typer.Option("--set", help="Name of the set that holds the source. [default: the source's name]")
    ] = None,
    allow_drop: Annotated[
        bool,
        typer.Option("--allow-drop", help="Delete items even if more than half of the set is gone from the source."),
    ] = False,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    verify_content: Annotated[
        bool,
        typer.Option(
            "--verify-content", help="Read files again whose size and modification time are as they were indexed."
        ),
    ] = False,
    failure_share: FailureShare = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add a source to a gallery, or update the gallery after a change.

    Each source is one set of the gallery. New items are added, changed items are replaced, unchanged items are
    skipped, and items that are gone from the source are deleted. Items whose files cannot be read are kept.
    """
    from fieldmark.config_file import load_config
    from fieldmark.data.folder import FolderChoice
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.index import index

    choice = make_choice(
        image=image_encoder,
        text=text_encoder,
        audio=audio_encoder,
        video=video_encoder,
        labels=labels,
        names_file=names,
        descriptions=descriptions,
    )
    with TerminalReporter(quiet=quiet) as reporter:
        result = index(
            source,
            checkpoint=checkpoint,
            config=None if config is None else load_config(config),
            gallery=gallery,
            set_name=set_name,
            allow_drop=allow_drop,
            choice=FolderChoice(exclude=tuple(exclude or ()), follows_links=follow_links),
            verify_content=verify_content,
            traits=traits,
            encoders=choice,
            runtime=Runtime.from_environment(reporter),
        )
    print_result(result, result.to_text(), as_json=as_json)
    result.check_failures(allowed_share=failure_share)


app.command()(search)


def _check_arguments(arguments: Sequence[str]) -> None:
    """Check that arguments are text: a name in another encoding could neither be stored nor printed.

    Raises:
        ConfigError: One is not.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            shown = argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            raise ConfigError(
                f"The argument '{shown[:200]}' is not UTF-8. Give it in UTF-8; rename the file where it names one."
            ) from error


def main() -> None:
    """Run the command line. Errors print one message and exit with 1, wrong usage exits with 2."""
    debug = "--debug" in sys.argv
    try:
        _check_arguments(sys.argv[1:])
        app(prog_name="fieldmark")
    except (FieldmarkError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"fieldmark: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("fieldmark: interrupted\n")
        sys.exit(130)
