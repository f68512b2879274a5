"""The table from error to status, and the one shape of every answer that is not good news."""

import logging

from starlette.responses import JSONResponse, Response

from fieldmark import errors
from fieldmark.errors import FieldmarkError

logger = logging.getLogger(__name__)

STATUS_OF: dict[type[FieldmarkError], int] = {
    errors.BadRequestError: 400,
    errors.OutOfRangeError: 400,
    errors.CutoffError: 400,
    errors.NoQueryError: 400,
    errors.NoMarksError: 400,
    errors.TokenError: 401,
    errors.ForeignRequestError: 403,
    errors.UnknownItemError: 404,
    errors.UnknownJobError: 404,
    errors.UnknownSavedClassError: 404,
    errors.UnknownSourceError: 404,
    errors.NothingToShowError: 404,
    errors.MediaGoneError: 404,
    errors.SlowRequestError: 408,
    errors.JobRunningError: 409,
    errors.TooLargeError: 413,
    errors.BodyTooLargeError: 413,
    errors.ContentTypeError: 415,
    errors.RangeError: 416,
    errors.MediaError: 422,
    errors.MediumNotSupportedError: 422,
    errors.OverloadedError: 503,
    errors.WorkTimeoutError: 503,
    errors.GalleryBusyError: 503,
}
"""The nearest class counts, so that a branch of the tree has one line; what is not here is the server's fault: 500."""


def status_of(error: FieldmarkError) -> int:
    """The status of an error: that of its nearest class in the table."""
    return next((STATUS_OF[each] for each in type(error).__mro__ if each in STATUS_OF), 500)


def answer_error(error: FieldmarkError) -> Response:
    """The answer that tells of an error; what is the server's own fault stands in its log, not in the answer."""
    status = status_of(error)
    if status == 500:
        logger.error("%s", error, exc_info=error)
        return answer(status, kind=error.kind, message="The server could not answer. Its log says why. Look there.")
    headers = {}
    if isinstance(error, errors.OverloadedError):
        headers["retry-after"] = str(error.retry_seconds)
    elif status == 503:
        headers["retry-after"] = "5"
    if isinstance(error, errors.TokenError):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, errors.RangeError):
        headers["content-range"] = f"bytes */{error.size}"
    return answer(status, kind=error.kind, message=str(error), headers=headers)


def answer(status: int, *, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An answer of the one shape."""
    return JSONResponse({"kind": kind, "message": message}, status_code=status, headers=headers)
