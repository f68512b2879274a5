"""The table from kind of error to status, and the one shape of every error."""

import logging

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
    "out_of_range": 400,
    "unknown_country": 400,
    "unknown_fact": 400,
    "unauthorized": 401,
    "foreign_request": 403,
    "media_gone": 404,
    "refuse_to_show": 404,
    "unknown_item": 404,
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
    "unreadable": 422,
    "gallery_busy": 503,
    "overloaded": 503,
    "timed_out": 503,
}
"""By the kind of an error; all else is a fault of the server: 500."""


def find_status(error: FieldmarkError) -> int:
    """Return the status of an error by its kind."""
    return STATUS_OF.get(error.kind, 500)


def answer_error(error: FieldmarkError) -> Response:
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
    return answer(status, kind=error.kind, message=str(error), headers=headers)


def answer(status: int, *, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error response: `{kind, message}`."""
    return JSONResponse({"kind": kind, "message": message}, status_code=status, headers=headers)
