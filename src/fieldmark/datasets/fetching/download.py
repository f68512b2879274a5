"""One file of the web: asked for again where a fault may pass, and continued where it broke off."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import final

import httpx

from fieldmark.datasets.fetching.addresses import parse_address
from fieldmark.datasets.fetching.hosts import Hosts, StoppedError, TransientError
from fieldmark.errors import DownloadError, TooLargeError

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 8
_BUSY = (429, 503)
_PASSING = (408, 425, 500, 502, 504)
_PAGES = ("text/html", "application/xhtml+xml")
_SLOWEST_BYTES_A_SECOND = 1024
_UNASKED_WAIT_SECONDS = 10.0
"""The first wait for a host that is busy and does not say for how long; each further one is twice as long."""


@dataclass(frozen=True, slots=True)
class Download:
    """One downloaded file.

    Args:
        final_address: Where the redirects led.
        content_type: As the host gave it; empty for none, as are the next two.
    """

    sha256: str
    byte_count: int
    final_address: str
    content_type: str
    etag: str
    last_modified: str


@final
class Downloader:
    """Downloads files, each to a place beside its own until it is whole."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._largest_bytes = hosts.pace.largest_bytes

    def download(self, address: str, *, part: Path) -> Download:
        """Download a file; what is there of it already is not asked for again, where the host says it is the same.

        Args:
            part: The file to write; it stays where a fault ends the download, so that the next run continues it.

        Raises:
            DownloadError: It cannot be had; the kind says why.
            TooLargeError: It is beyond the limit.
            StoppedError: The run was ended.
            OSError: It cannot be written.
        """
        url = parse_address(address)
        partial = _Partial(part, address)
        for attempt in range(1, self._hosts.pace.attempts + 1):
            try:
                return self._try(url, partial)
            except TransientError as error:
                if attempt == self._hosts.pace.attempts:
                    raise error.found from error
                if not error.is_held:
                    self._wait(self._hosts.pace.pause_seconds * 2**attempt)
        raise AssertionError  # a pace has one attempt or more

    def _wait(self, seconds: float) -> None:
        if self._hosts.stop.wait(seconds):
            raise StoppedError

    def _try(self, url: httpx.URL, partial: "_Partial") -> Download:
        """Ask once, and follow where that leads; every address on the way is checked like the first."""
        for _ in range(_MOST_REDIRECTS + 1):
            with self._hosts.ask(url, {"Accept-Encoding": "identity", **partial.headers}) as response:
                if response.status_code in _REDIRECTS and response.headers.get("Location"):
                    url = parse_address(str(url.join(response.headers["Location"])))
                    continue
                self._check_answer(url, response, partial)
                return self._receive(url, response, partial)
        raise DownloadError(
            address=str(url), reason=f"there are more than {_MOST_REDIRECTS} redirects before it", kind="redirects"
        )

    def _check_answer(self, url: httpx.URL, response: httpx.Response, partial: "_Partial") -> None:
        """Check that an answer is the file, or the part of it that was asked for."""
        status = response.status_code
        if status in _BUSY:
            raise self._leave_alone(url, response, partial)
        is_other_part = status == 206 and not partial.continues_with(response.headers.get("Content-Range", ""))
        if status == 416 or is_other_part:  # the file is another one now
            partial.discard()
            raise TransientError(DownloadError(address=str(url), reason="its bytes have changed", kind="changed"))
        if status not in (200, 206):
            raise _name_status(url, status, response.reason_phrase)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type in _PAGES:
            raise DownloadError(address=str(url), reason=f"it is a web page ({media_type})", kind="web_page")

    def _leave_alone(self, url: httpx.URL, response: httpx.Response, partial: "_Partial") -> TransientError:
        """Ask a busy host for nothing as long as it wants."""
        asked = _read_wait(response.headers.get("Retry-After", ""))
        partial.busy_count += 1
        seconds = _UNASKED_WAIT_SECONDS * 2 ** (partial.busy_count - 1) if asked is None else asked
        fault = DownloadError(
            address=str(url),
            reason=f"the host is busy ({response.status_code}) and is left alone for {seconds:,.0f} seconds",
            remedy="Run the command again then.",
            kind="busy",
        )
        self._hosts.hold(url, seconds, fault)
        return TransientError(fault, is_held=True)

    def _receive(self, url: httpx.URL, response: httpx.Response, partial: "_Partial") -> Download:
        """Write the content of an answer; raise what is wrong with it."""
        headers = response.headers
        is_encoded = headers.get("Content-Encoding", "identity").lower() != "identity"
        size = partial.begin(headers, continues=response.status_code == 206, is_encoded=is_encoded)
        expected = None if is_encoded else _read_size(headers, start=size)
        if max(expected or 0, size) > self._largest_bytes:
            raise self._refuse_size(url, expected or size, partial)
        begin, received = time.monotonic(), 0
        with partial.path.open("ab") as file:
            for chunk in response.iter_bytes() if is_encoded else response.iter_raw():
                file.write(chunk)
                received += len(chunk)
                if size + received > self._largest_bytes:
                    raise self._refuse_size(url, size + received, partial)
                self._check_speed(url, received, time.monotonic() - begin)
        size += received
        if expected is not None and size != expected:
            reason = f"it ended after {size:,} of {expected:,} bytes"
            raise TransientError(DownloadError(address=str(url), reason=reason, kind="truncated"))
        digest = partial.hash()
        partial.forget()
        told = (headers.get(name, "") for name in ("Content-Type", "ETag", "Last-Modified"))
        return Download(digest, size, str(url), *told)

    def _check_speed(self, url: httpx.URL, received: int, seconds: float) -> None:
        if self._hosts.stop.is_set():
            raise StoppedError
        if seconds > self._hosts.pace.stall_seconds and received < _SLOWEST_BYTES_A_SECOND * seconds:
            reason = f"it gave {received:,} bytes in {seconds:,.0f} seconds"
            raise TransientError(DownloadError(address=str(url), reason=reason, kind="stalled"))

    def _refuse_size(self, url: httpx.URL, size: int, partial: "_Partial") -> TooLargeError:
        partial.discard()
        error = TooLargeError(path=str(url), quantity="bytes", got=size, allowed=self._largest_bytes)
        error.name_limit("--largest-mb")
        return error


def _name_status(url: httpx.URL, status: int, phrase: str) -> Exception:
    """Return the error of an answer that is no file."""
    reason = f"the host answers {status} {phrase}".rstrip()
    if status in (404, 410):
        return DownloadError(address=str(url), reason=reason, kind="gone")
    if status in (401, 403, 451):
        return DownloadError(address=str(url), reason=reason, kind="forbidden")
    found = DownloadError(address=str(url), reason=reason, kind="bad_answer")
    return TransientError(found) if status in _PASSING else found


def _read_wait(text: str) -> float | None:
    """Return the seconds of a Retry-After: a number, or a time; None for neither."""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _read_size(headers: Mapping[str, str], *, start: int) -> int | None:
    """Return the size of the whole file that an answer promises; None where it promises none."""
    total = re.fullmatch(r"bytes \d+-\d+/(\d{1,18})", headers.get("Content-Range", ""))
    if total:
        return int(total[1])
    length = headers.get("Content-Length", "")
    return start + int(length) if re.fullmatch(r"\d{1,18}", length) else None


@final
class _Partial:
    """The bytes of a file that are here already, and what tells whether the rest is of the same file."""

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self.busy_count = 0
        self._address = address
        self._note = path.with_name(f"{path.name}.json")
        self._validator = self._read_validator()

    @property
    def headers(self) -> Mapping[str, str]:
        """The request for what is missing, if it is of the same file; for all of it, where nothing tells."""
        size = self._measure()
        if not size or not self._validator:
            return {}
        return {"Range": f"bytes={size}-", "If-Range": self._validator}

    def continues_with(self, content_range: str) -> bool:
        """Tell whether an answer begins where the bytes end."""
        return content_range.startswith(f"bytes {self._measure()}-")

    def begin(self, headers: Mapping[str, str], *, continues: bool, is_encoded: bool) -> int:
        """Make ready for an answer; return how many bytes are kept."""
        if continues:
            return self._measure()
        self.discard()
        etag = headers.get("ETag", "")
        validator = headers.get("Last-Modified", "") if etag.startswith("W/") else etag or headers.get("Last-Modified")
        if validator and not is_encoded:
            self._validator = validator
            self._note.write_text(json.dumps({"address": self._address, "validator": validator}), encoding="utf-8")
        return 0

    def hash(self) -> str:
        """Return the SHA-256 of the bytes, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def forget(self) -> None:
        """Remove what is only needed to continue."""
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the bytes: they are of another file, or of none that is wanted."""
        self.path.unlink(missing_ok=True)
        self._validator = ""
        self.forget()

    def _measure(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def _read_validator(self) -> str:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        is_same = isinstance(note, dict) and note.get("address") == self._address
        found = str(note["validator"]) if is_same and "validator" in note else ""
        return found if re.fullmatch(r"[\x20-\x7e]{1,500}", found) else ""
