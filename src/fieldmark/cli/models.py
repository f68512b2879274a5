"""The commands `fieldmark models ...`: list encoders, fetch one, add one of your own."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from fieldmark.cli.encoders import Labels
from fieldmark.cli.terminal import Json, Quiet, TerminalReporter, print_result


class _Group(TyperGroup):
    """Commands that get the context in typer's own class, as their annotations say."""

    context_class = typer.Context


models_app = typer.Typer(
    cls=_Group, help="List encoders, fetch one from the model hub, or add your own.", no_args_is_help=False
)


@models_app.callback(invoke_without_command=True)
def _list(context: typer.Context, *, as_json: Json = False) -> None:
    """List encoders: what each names, its size and license, whether it is here, and how to get it.

    Nothing is downloaded.
    """
    if context.invoked_subcommand is not None:
        return
    from fieldmark.workflows.models import list_models

    result = list_models()
    print_result(result, result.to_text(), as_json=as_json)


@models_app.command("get")
def _get(
    name: Annotated[
        str,
        typer.Argument(help="Name of `fieldmark models`, or OWNER/NAME on the Hugging Face Hub.", show_default=False),
    ],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch an encoder from the Hugging Face Hub.

    Shows its license and size first. A broken download continues where it stopped, and its hash is checked.
    """
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.models import get_model

    with TerminalReporter(quiet=quiet) as reporter:
        result = get_model(name, runtime=Runtime.from_environment(reporter))
    print_result(result, result.to_text(), as_json=as_json)


@models_app.command("add")
def _add(
    path: Annotated[
        Path,
        typer.Argument(help="ONNX file, or folder in the layout of transformers.", show_default=False),
    ],
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="Name to use it by. [default: the name of the file or folder]")
    ] = None,
    labels: Labels = None,
    medium: Annotated[
        Literal["image", "text", "video", "audio"] | None,
        typer.Option("--medium", help="Medium that it takes. [default: by its input]"),
    ] = None,
    sample_rate_hz: Annotated[
        int | None,
        typer.Option(
            "--sample-rate",
            metavar="HZ",
            min=1,
            help="Rate of the sounds that an ONNX file takes. [default: by its name, its preprocessing or its input]",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a model of your own by its file or folder.

    The files are copied to the folder `models` in FIELDMARK_CACHE, so that galleries made with it still open when the
    original is gone.
    """
    from fieldmark.types import Medium
    from fieldmark.workflows.models import add_model

    result = add_model(
        path,
        name=name,
        labels=labels,
        medium=None if medium is None else Medium(medium),
        sample_rate_hz=sample_rate_hz,
    )
    print_result(result, result.to_text(), as_json=as_json)
