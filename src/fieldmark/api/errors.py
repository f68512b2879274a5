"""The table from kind of error to status, the one shape of every error, and folders of the server kept out of it."""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import final

from starlette.responses import JSONResponse, Response

from fieldmark import errors
from fieldmark.errors import FieldmarkError

logger = logging.getLogger(__name__)

STATUS_OF = {
    "bad_area": 400,
    "bad_dates": 400,
    "bad_month": 400,
    "bad_request": 400,
    "contradictory_marks": 400,
    "cutoff": 400,
    "no_marks": 400,
    "no_query": 400,
    "no_ranges": 400,
    "out_of_range": 400,
    "unknown_country": 400,
    "unknown_fact": 400,
    "unauthorized": 401,
    "foreign_request": 403,
    "media_gone": 404,
    "outside_source": 404,
    "refuse_to_show": 404,
    "unknown_item": 404,
    "unknown_name": 404,
    "unknown_job": 404,
    "unknown_saved_class": 404,
    "unknown_source": 404,
    "slow_request": 408,
    "job_running": 409,
    "body_too_large": 413,
    "too_long": 413,
    "content_type": 415,
    "range": 416,
    "empty": 422,
    "medium_mismatch": 422,
    "medium_not_supported": 422,
    "missing_file": 422,
    "not_prose": 422,
    "unreadable": 422,
    "disk_full": 507,
    "engine_full": 507,
    "engine_access": 503,
    "engine_database": 503,
    "engine_failed": 503,
    "engine_unreachable": 503,
    "gallery_busy": 503,
    "gallery_replaced": 503,
    "missing_gallery": 503,
    "overloaded": 503,
    "timed_out": 503,
}
"""By the kind of an error; all else is a fault of the server: 500."""


_QUOTED_PATH = re.compile(r"'(?:/|[A-Za-z]:\\\\)(?:[^'\n]*[/\\\\])?([^'/\\\\\n]*)'")


@final
class PathHider:
    """Takes the folders of a server out of what it answers: they are its own business.

    Args:
        roots: Folders that are named in messages, and addresses; what lies below one is shown as seen from it, and one
            itself by its name. Of any other quoted path, only the last part is left.
    """

    def __init__(self, roots: Iterable[Path | str]) -> None:
        named = {
            str(form)
            for root in roots
            for form in ((root, root.absolute(), root.resolve()) if isinstance(root, Path) else (root,))
        }
        self._roots = sorted((name for name in named if len(name) > 1), key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return a text without folders of the server."""
        for root in self._roots:
            text = text.replace(root + os.sep, "").replace(root, Path(root).name)
        return _QUOTED_PATH.sub(r"'\1'", text)

    def hide_all(self, value: object) -> object:
        """Return the same plain value; its texts are without folders of the server."""
        match value:
            case str():
                return self.hide(value)
            case Mapping():
                return {name: self.hide_all(each) for name, each in value.items()}
            case list() | tuple():
                return [self.hide_all(each) for each in value]
            case _:
                return value


def find_status(error: FieldmarkError) -> int:
    """Return the status of an error by its kind."""
    return STATUS_OF.get(error.kind, 500)


def answer_error(error: FieldmarkError, *, hider: PathHider | None = None) -> Response:
    """Return the response for an error; a fault of the server is told in its log, not in the response."""
    status = find_status(error)
    if status == 500:
        logger.error("%s", error, exc_info=error)
        return answer(status, kind=error.kind, message="The server failed to answer. See its log for the reason.")
    headers = {}
    if isinstance(error, errors.OverloadedError):
        headers["retry-after"] = str(error.retry_seconds)
    elif status == 503:
        headers["retry-after"] = "5"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, errors.RangeError):
        headers["content-range"] = f"bytes */{error.size}"
    return answer(status, kind=error.kind, message=(hider or PathHider(())).hide(str(error)), headers=headers)


def answer(status: int, *, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error response: `{kind, message}`."""
    return JSONResponse({"kind": kind, "message": message}, status_code=status, headers=headers)
