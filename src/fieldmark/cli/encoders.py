"""The options that name encoders, shared by commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fieldmark.encoder_choice.choice import EncoderChoice

_Names = list[str] | None

ImageEncoder = Annotated[
    _Names,
    typer.Option(
        "--image-encoder",
        metavar="NAME|PATH",
        help="Encoder of photos: a name of `fieldmark models`, an ONNX file or a folder. Also reads videos, unless "
        "--video-encoder is given. Repeatable; several are joined.",
    ),
]
TextEncoder = Annotated[
    _Names, typer.Option("--text-encoder", metavar="NAME|PATH", help="Encoder of texts. Repeatable.")
]
AudioEncoder = Annotated[
    _Names, typer.Option("--audio-encoder", metavar="NAME|PATH", help="Encoder of sounds. Repeatable.")
]
VideoEncoder = Annotated[
    _Names,
    typer.Option("--video-encoder", metavar="NAME|PATH", help="Encoder of frames of videos. Repeatable."),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Names of the classes of the encoder given as an ONNX file. [default: the list beside that file]",
    ),
]


NamesFile = Annotated[
    Path | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="Names of species to look for in texts, one a line or a CSV file with scientific_name and common_name. "
        "Names that the encoders know need not be given.",
    ),
]
Descriptions = Annotated[
    Path | None,
    typer.Option(
        "--descriptions",
        metavar="FILE",
        help="Species book: CSV file with name and text. A text that names no species is compared with these accounts. "
        "Descriptions also find species by the marks that a book tells of.",
    ),
]

TraitsFile = Annotated[
    Path | None,
    typer.Option(
        "--traits",
        metavar="PATH",
        help="Table of the marks of species, by which descriptions find them: a CSV file with name and marks, or a "
        "folder with the attributes of CUB-200-2011.",
    ),
]


def make_choice(
    *,
    image: _Names,
    text: _Names,
    audio: _Names,
    video: _Names,
    labels: Path | None,
    names_file: Path | None,
    descriptions: Path | None,
) -> "EncoderChoice":
    """Return the encoders that the options name."""
    from fieldmark.encoder_choice.choice import EncoderChoice

    return EncoderChoice(
        image=tuple(image or ()),
        text=tuple(text or ()),
        audio=tuple(audio or ()),
        video=tuple(video or ()),
        labels=labels,
        names_file=names_file,
        descriptions=descriptions,
    )
