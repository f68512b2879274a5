"""The table from error to status."""

import pytest

from fieldmark import errors
from fieldmark.api.errors import PathHider, answer_error, find_status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.EmptyMediaError(path="x"), 422),
        (errors.MediumMismatchError(path="x", got="a", expected="b"), 422),
        (errors.TooLargeError(path="x", quantity="pixels", got=2, allowed=1), 413),
        (errors.UnknownItemError(item_id="x", gallery="g"), 404),
        (errors.RequestError("x", kind="unknown_job"), 404),
        (errors.RequestError("x"), 400),
        (errors.FieldmarkError("x"), 500),
        (errors.GalleryError("x", kind="gallery_busy"), 503),
        (errors.DamagedGalleryError(path="/secret/place", reason="x"), 500),
    ],
)
def test_the_kind_gives_the_status(error, status):
    assert find_status(error) == status
    answer = answer_error(error)
    assert answer.status_code == status
    assert b"/secret" not in answer.body
    assert (status == 503) == ("retry-after" in answer.headers)


@pytest.mark.parametrize("kind", ["engine_unreachable", "engine_failed", "engine_access", "engine_database"])
def test_where_the_engine_of_a_gallery_is_stays_the_server_s_own_business(kind):
    address = "milvus://10.0.0.7:19530/museum/birds"
    error = errors.GalleryError(f"The engine of the gallery '{address}' does not answer.", kind=kind)
    answer = answer_error(error, hider=PathHider([address]))
    assert answer.status_code == 503
    assert b"'birds' does not answer" in answer.body
    assert b"10.0.0.7" not in answer.body
