"""Routes of moments: one cut out of its file, and many as a zip with a table."""

import csv
import io
import re
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, BinaryIO, final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark.api.limits import read_json
from fieldmark.api.routes_labels import make_hit
from fieldmark.api.routes_media import open_media
from fieldmark.api.schemas import ClipsRequest, HitMark
from fieldmark.api.service import Service, get_service
from fieldmark.errors import FieldmarkError, OutOfRangeError
from fieldmark.gallery.search.result import ExportFormat, export_marks
from fieldmark.gallery.store import StoredItem
from fieldmark.media.clip import cut_moment
from fieldmark.media.preview import TimeRange
from fieldmark.types import Item, MediaLimits, Medium

Seconds = Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="in the file's own time")]

_BLOCK_BYTES = 2**16
_HELD_BYTES = 16 * 2**20  # a larger zip is written to a temporary file
_TABLE = "hits.csv"


async def send_clip(
    request: Request, item_id: str, start_seconds: Seconds = None, end_seconds: Seconds = None
) -> Response:
    """Send a moment as a file of its own: a sound as WAV, a video as MP4."""
    service = get_service(request)
    time_range = TimeRange(start_seconds, end_seconds)

    def cut() -> tuple[bytes, str, str]:
        item = service.check_served(service.get_item(item_id))
        clip = cut_moment(item, time_range, limits=_limit_clips(service))
        return clip.content, _name_moment(item, time_range, clip.suffix), clip.mime_type

    content, name, kind = await service.preview_pool.run(cut)
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "private, max-age=300"}
    return Response(content, media_type=kind, headers=headers)


async def export_clips(request: Request) -> Response:
    """Send the moments of hits as a zip, with a table of them; photos and texts are sent whole."""
    service = get_service(request)
    wanted = await read_json(request, ClipsRequest, limits=service.limits)
    if len(wanted.hits) > service.limits.max_clips:
        raise OutOfRangeError(name="hits", got=len(wanted.hits), smallest=1, largest=service.limits.max_clips)
    held = await service.export_pool.run(lambda: _Archive(service, wanted).write())
    return StreamingResponse(
        _read_blocks(held),
        media_type="application/zip",
        headers={"content-disposition": 'attachment; filename="moments.zip"'},
    )


def _limit_clips(service: Service) -> MediaLimits:
    return MediaLimits(max_segment_seconds=service.limits.max_clip_seconds)


def _read_blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _name_moment(item: Item, time_range: TimeRange, suffix: str) -> str:
    """Return a file name of plain letters that tells the item and the moment."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePath(item.item_id).with_suffix("").name).strip("._")[:80] or "item"
    if time_range.start_seconds is None:
        return f"{stem}{suffix}"
    end = "" if time_range.end_seconds is None else f"-{time_range.end_seconds:.2f}"
    return f"{stem}_{time_range.start_seconds:.2f}{end}s{suffix}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row of the table beside the media."""

    file: str = ""
    problem: str = ""


@final
class _Archive:
    """The zip of some hits; what cannot be cut is listed in its table with the reason."""

    def __init__(self, service: Service, wanted: ClipsRequest) -> None:
        self._service = service
        self._wanted = wanted
        self._bytes = 0
        self._deadline = time.monotonic() + service.limits.long_work_seconds * 0.8

    def write(self) -> BinaryIO:
        """Return the zip, open at its beginning."""
        held: BinaryIO = tempfile.SpooledTemporaryFile(_HELD_BYTES)  # type: ignore[assignment]  # noqa: SIM115 - sent, then closed
        with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
            stored = [self._service.get_item(mark.item_id) for mark in self._wanted.hits]
            pairs = list(zip(self._wanted.hits, stored, strict=True))
            entries = [self._add(archive, number, *pair) for number, pair in enumerate(pairs, start=1)]
            archive.writestr(_TABLE, _write_table(pairs, entries), zipfile.ZIP_DEFLATED)
        held.seek(0)
        return held

    def _add(self, archive: zipfile.ZipFile, number: int, mark: HitMark, stored: StoredItem) -> _Entry:
        limits = self._service.limits
        if self._bytes > limits.max_zip_bytes or time.monotonic() > self._deadline:
            return _Entry(problem="left out: the zip is full. Ask for fewer hits at once.")
        try:
            item = self._service.check_served(stored)
            name, content = self._make(item, mark)
        except (FieldmarkError, OSError) as error:
            return _Entry(problem=self._service.hider.hide(str(error)))
        self._bytes += len(content)
        path = f"{item.medium.value}/{number:03}_{name}"
        archive.writestr(path, content)
        return _Entry(file=path)

    def _make(self, item: Item, mark: HitMark) -> tuple[str, bytes]:
        if item.medium is Medium.TEXT and item.text is not None:
            return _name_moment(item, TimeRange(), ".txt"), item.text.encode()
        if item.medium in {Medium.TEXT, Medium.IMAGE}:
            path = PurePath(open_media(item).path)
            suffix = path.suffix if re.fullmatch(r"\.\w{1,8}", path.suffix) else ""
            return _name_moment(item, TimeRange(), suffix), self._read(item)
        time_range = self._widen(item, mark)
        clip = cut_moment(item, time_range, limits=_limit_clips(self._service))
        return _name_moment(item, time_range, clip.suffix), clip.content

    def _read(self, item: Item) -> bytes:
        assert item.path is not None  # noqa: S101 - open_media has checked it
        left = self._service.limits.max_zip_bytes - self._bytes
        size = item.path.stat().st_size
        if size > left:
            raise OutOfRangeError(name="bytes of the file", got=size, smallest=0, largest=left)
        return item.path.read_bytes()

    def _widen(self, item: Item, mark: HitMark) -> TimeRange:
        """Return the moment with the time before and after it, within the item and the longest moment."""
        if mark.start_seconds is None or mark.end_seconds is None:
            return TimeRange()
        margin = self._wanted.margin_seconds
        start = max(item.start_seconds or 0.0, mark.start_seconds - margin)
        longest = start + self._service.limits.max_clip_seconds
        return TimeRange(start, min(mark.end_seconds + margin, longest))


def _write_table(pairs: Sequence[tuple[HitMark, StoredItem]], entries: Sequence[_Entry]) -> str:
    """Return the table of an export, with the file of each hit, or why there is none, before its other columns."""
    rows = list(csv.reader(io.StringIO(export_marks([make_hit(*pair) for pair in pairs], format=ExportFormat.CSV))))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["file", "problem", *rows[0]])
    writer.writerows([entry.file, entry.problem, *row] for entry, row in zip(entries, rows[1:], strict=True))
    return out.getvalue()
