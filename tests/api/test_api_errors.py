"""The table from error to status."""

import pytest

from fieldmark import errors
from fieldmark.api.errors import STATUS_OF, answer_error, status_of


def test_every_error_of_a_request_has_a_status():
    requests = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.RequestError)
    ]
    assert len(requests) > 10
    assert all(
        any(parent in STATUS_OF for parent in each.__mro__) for each in requests if each is not errors.RequestError
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.EmptyMediaError(path="x"), 422),
        (errors.MediumMismatchError(path="x", got="a", expected="b"), 422),
        (errors.TooLargeError(path="x", quantity="pixels", got=2, allowed=1), 413),
        (errors.UnknownItemError(item_id="x", gallery="g"), 404),
        (errors.GalleryBusyError(path="x", waited_seconds=1.0), 503),
        (errors.DamagedGalleryError(path="/secret/place", reason="x"), 500),
    ],
)
def test_the_nearest_class_counts(error, status):
    assert status_of(error) == status
    answer = answer_error(error)
    assert answer.status_code == status
    assert b"/secret" not in answer.body
    assert (status == 503) == ("retry-after" in answer.headers)
