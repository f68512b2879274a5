"""The command that serves a gallery over HTTP."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import GalleryPath, Quiet, TerminalReporter, parse_pairs
from fieldmark.errors import TokenFileError

serving_app = typer.Typer()

TOKEN_VARIABLE = "FIELDMARK_TOKEN"  # noqa: S105 - its name, not a token
_TOKEN = re.compile(r"[\w\-.~+/=]{16,512}", re.ASCII)


@serving_app.command()
def serve(
    *,
    gallery: GalleryPath,
    host: Annotated[str, typer.Option("--host", help="address to listen at; this machine alone by default")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="port; 0 takes a free one")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="file with a token that every request must carry; or FIELDMARK_TOKEN"),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=PATH", help="what jobs may index: manifest or folder; may be repeated"),
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="KEY=VALUE", help="a limit, such as max_k=500; GET /v1/openapi.json has all"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Answer searches over HTTP, and show the page."""
    run_server(
        gallery,
        host_name=host,
        port=port,
        token=read_token(token_file),
        sources={name: Path(path) for name, path in parse_pairs(sources, option="--source").items()},
        limits=tuple(limits or ()),
        quiet=quiet,
    )


def run_server(
    gallery: Path,
    *,
    host_name: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    sources: dict[str, Path] | None = None,
    limits: tuple[str, ...] = (),
    quiet: bool = False,
) -> None:
    """Serves until it is told to end."""
    from fieldmark.api.server import access_to, is_loopback, serve
    from fieldmark.api.service import ServeOptions
    from fieldmark.config import parse_limits
    from fieldmark.runtime import Runtime

    options = ServeOptions(limits=parse_limits(limits), access=access_to(host_name, token=token), sources=sources or {})
    if token is None and not is_loopback(host_name):
        sys.stderr.write("fieldmark: anyone who reaches this address may search and index; --token-file asks a token\n")
    with TerminalReporter(quiet=quiet) as reporter:
        serve(
            gallery,
            host_name=host_name,
            port=port,
            options=options,
            runtime=Runtime.from_environment(),
            announce=lambda address: reporter.say(f"fieldmark serves {gallery} at {address} (Ctrl-C ends it)"),
        )


def read_token(path: Path | None) -> str | None:
    """The token of a file, else of the environment; None where neither is given.

    Raises:
        TokenFileError: It cannot be read, or is no token.
    """
    if path is None:
        given, place = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not given:
            return None
    else:
        place = str(path)
        try:
            given = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenFileError(path=path, reason="it cannot be read as ASCII text") from error
    if not _TOKEN.fullmatch(given):
        raise TokenFileError(path=place, reason="it is too short, too long, or holds other characters")
    return given
