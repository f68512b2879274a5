"""Documents with text in them, PDF and DOCX: a file to passages, one for each page or paragraph."""

import logging
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.errors import EmptyMediaError, MissingExtraError, NotProseError, TooLargeError, UnreadableMediaError
from fieldmark.media.file import convert_decoder_errors
from fieldmark.types import MediaLimits

if TYPE_CHECKING:
    from docx.document import Document
    from docx.table import Table

PDF, DOCX = "PDF", "DOCX"
_TO_TEXT = "save its text as a .txt file in UTF-8"
_EXTRA = "documents"
_PACKAGES = {PDF: "pypdf", DOCX: "python-docx"}
_LARGEST_UNPACKED_BYTES = 2**28
"""A DOCX is unpacked in memory, pictures and all."""
_MOST_PAGES = 5_000
_FEWEST_WORDS = 5
"""A paragraph of fewer words, such as a heading, is joined to the next one."""

_ZIPPED = {
    "word/document.xml": DOCX,
    "xl/workbook.xml": "a workbook (XLSX)",
    "ppt/presentation.xml": "slides (PPTX)",
    "content.xml": "a document of OpenDocument",
    "META-INF/container.xml": "a book (EPUB)",
    "doc.kml": "a track of positions (KMZ)",
}
_OTHER_SIGNATURES = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of an old Office program (such as DOC or XLS)"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)"),
    (b"Rar!\x1a\x07", "an archive (RAR)"),
    (b"\x1f\x8b\x08", "an archive (gzip)"),
)
_BARE_STREAM = "a bare stream of video"
_BARE_STREAMS = re.compile(
    rb"\x00\x00\x00\x01[\x09\x27\x47\x67\x40\x42\x46]|\x00\x00\x01[\x09\x27\x47\x67\xb3]", re.DOTALL
)
"""The first unit of H.264 or H.265, or the sequence header of MPEG-1 and 2."""


def find_document(head: bytes, *, path: Path) -> str | None:
    """Return PDF or DOCX for a document that can be read, by its content; None for what is no document.

    Raises:
        NotProseError: It is a document or an archive of another kind.
    """
    if b"%PDF-" in head[:1024]:
        return PDF
    other = next((name for signature, name in _OTHER_SIGNATURES if head.startswith(signature)), None)
    if head.startswith(b"PK\x03\x04"):
        other = _look_into_archive(path)
    if _BARE_STREAMS.match(head):
        instead = "the video in an MP4 or Matroska file: a bare stream has no times"
        raise NotProseError(path=path, met=_BARE_STREAM, instead=instead)
    if other in (None, DOCX):
        return other
    is_archive = other.startswith("an archive")
    instead = "its files, unpacked" if is_archive else "it as DOCX or PDF, or its text as a .txt file in UTF-8"
    raise NotProseError(path=path, met=other, instead=instead)


def _look_into_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
        return "an archive (ZIP) that is damaged"
    return next((kind for member, kind in _ZIPPED.items() if member in names), "an archive (ZIP)")


def read_passages(path: Path, kind: str, *, limits: MediaLimits) -> Iterator[str]:
    """Yield the text of each page of a PDF, or of each paragraph and row of a table of a DOCX.

    Raises:
        NotProseError: The packages that read documents are not installed.
        EmptyMediaError: There is no text, only pictures.
        TooLargeError: Too many characters, or too many bytes once unpacked.
        UnreadableMediaError: It is damaged, or needs a password.
    """
    passages = _read_pages(path) if kind == PDF else _read_paragraphs(path, limits=limits)
    count = 0
    with convert_decoder_errors(path, advice=_TO_TEXT):
        for passage in passages:
            text = passage.replace("\x00", "").encode("utf-8", "replace").decode().strip()
            count += len(text)
            if count > limits.max_characters:
                raise TooLargeError(path=path, quantity="characters", got=count, allowed=limits.max_characters)
            if text:
                yield text
    if count == 0:
        raise EmptyMediaError(
            path=path, reason=f"it has no text, only pictures; recognize their text (OCR), or {_TO_TEXT}"
        )


def refuse_without_reader(path: Path, kind: str) -> NotProseError:
    """Return the error of a document whose reader is not installed."""
    missing = MissingExtraError(package=_PACKAGES[kind], extra=_EXTRA, need=f"Reading a document in {kind}")
    instead = f"its text as a .txt file in UTF-8, or install the reader ({str(missing).rstrip('.')})"
    return NotProseError(path=path, met=f"a document in {kind}", instead=instead)


# ---------------------------------------------------------------- PDF


def _read_pages(path: Path) -> Iterator[str]:
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise refuse_without_reader(path, PDF) from error
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it logs each odd thing that it reads over
    with path.open("rb") as file:
        reader = PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableMediaError(path=path, reason=f"it needs a password; remove it, or {_TO_TEXT}")
        if len(reader.pages) > _MOST_PAGES:
            reason = (
                f"it has {len(reader.pages):,} pages, and at most {_MOST_PAGES:,} are read; divide it, or {_TO_TEXT}"
            )
            raise UnreadableMediaError(path=path, reason=reason)
        for page in reader.pages:
            yield page.extract_text()


# ---------------------------------------------------------------- DOCX


def _read_paragraphs(path: Path, *, limits: MediaLimits) -> Iterator[str]:
    try:
        from docx import Document
    except ImportError as error:
        raise refuse_without_reader(path, DOCX) from error
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    allowed = min(_LARGEST_UNPACKED_BYTES, limits.max_bytes)
    if unpacked > allowed:
        reason = f"it unpacks to {unpacked:,} bytes, and at most {allowed:,} are read; {_TO_TEXT}"
        raise UnreadableMediaError(path=path, reason=reason)
    waiting = ""
    for paragraph in _list_paragraphs(Document(str(path))):
        waiting = f"{waiting}\n{paragraph}".strip()
        if len(waiting.split()) >= _FEWEST_WORDS:
            yield waiting
            waiting = ""
    yield waiting


def _list_paragraphs(document: "Document") -> Iterator[str]:
    from docx.text.paragraph import Paragraph

    for content in document.iter_inner_content():
        if isinstance(content, Paragraph):
            yield content.text
        else:
            yield from _list_rows(content)


def _list_rows(table: "Table") -> Iterator[str]:
    for row in table.rows:
        yield " | ".join(dict.fromkeys(cell.text.strip() for cell in row.cells if cell.text.strip()))
