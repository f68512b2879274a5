"""The command `serve`: a gallery as a web page and an HTTP API."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import GalleryPath, Quiet, TerminalReporter, parse_pairs
from fieldmark.errors import ConfigError

serving_app = typer.Typer()

_TOKEN_VARIABLE = "FIELDMARK_TOKEN"  # noqa: S105 - the name of the variable, not a token
_TOKEN = re.compile(r"[\w\-.~+/=]{16,512}", re.ASCII)


@serving_app.command("serve")
def _serve(
    *,
    gallery: GalleryPath,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. The default is reachable from this machine only.")
    ] = ("127.0.0.1"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8000,
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url",
            metavar="URL",
            help="Address under which a proxy shows the server, such as https://birds.example. X-Forwarded headers are "
            "never trusted.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="File with a token that every request must carry. [default: FIELDMARK_TOKEN]"
        ),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source", metavar="NAME=PATH", help="Manifest or folder that clients may index, under NAME. Repeatable."
        ),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            "--ranges",
            help="Table of species by region and months. Hits of species that cannot have been where and when the "
            "query was made are called unlikely. [default: none]",
        ),
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="KEY=VALUE",
            help="Change a limit, such as max_k=500. GET /v1/openapi.json lists all. Repeatable.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Serve a gallery as a web page and an HTTP API."""
    run_server(
        gallery,
        host_name=host,
        port=port,
        public_url=public_url,
        token=read_token(token_file),
        sources={name: Path(path) for name, path in parse_pairs(sources, option="--source").items()},
        limits=tuple(limits or ()),
        ranges=ranges,
        quiet=quiet,
    )


def run_server(
    gallery: Path,
    *,
    host_name: str = "127.0.0.1",
    port: int = 8000,
    public_url: str | None = None,
    token: str | None = None,
    sources: dict[str, Path] | None = None,
    limits: tuple[str, ...] = (),
    ranges: Path | None = None,
    quiet: bool = False,
) -> None:
    """Serve a gallery until the process is stopped."""
    from fieldmark.api.process import is_loopback, make_access, serve
    from fieldmark.api.service import ServeOptions
    from fieldmark.config_file import parse_limits
    from fieldmark.data.ranges import read_ranges
    from fieldmark.runtime import Runtime

    access = make_access(host_name, token=token, public_url=public_url)
    options = ServeOptions(
        limits=parse_limits(limits),
        access=access,
        sources=sources or {},
        ranges=None if ranges is None else read_ranges(ranges),
    )
    if token is None and (public_url is not None or not is_loopback(host_name)):
        sys.stderr.write(
            "fieldmark: Anyone who can reach this address can search and index. Use --token-file to require a token.\n"
        )
    with TerminalReporter(quiet=quiet) as reporter:
        serve(
            gallery,
            host_name=host_name,
            port=port,
            options=options,
            runtime=Runtime.from_environment(),
            announce=lambda address: reporter.say(f"fieldmark serves {gallery} at {address} (press Ctrl-C to stop)"),
        )


def read_token(path: Path | None) -> str | None:
    """Return the token of a file or, without a file, of the environment; None if there is none.

    Raises:
        ConfigError: The token cannot be read or is not valid.
    """
    if path is None:
        given, origin = os.environ.get(_TOKEN_VARIABLE, ""), _TOKEN_VARIABLE
        if not given:
            return None
    else:
        origin = str(path)
        try:
            given = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _bad_token(path, reason="it cannot be read as ASCII text") from error
    if not _TOKEN.fullmatch(given):
        raise _bad_token(origin, reason="it is too short, too long, or contains other characters")
    return given


def _bad_token(place: Path | str, *, reason: str) -> ConfigError:
    return ConfigError(
        f"The token in '{place}' cannot be used: {reason}. Put 16 or more letters, digits, '-' or '_' in one line."
    )
