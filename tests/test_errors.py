"""Errors on their way to another process."""

import pickle

import pytest

from fieldmark import errors

MADE = [
    errors.MissingFileError(path="a.jpg"),
    errors.UnreadableMediaError(path="a.jpg", reason="it is cut"),
    errors.EmbeddingsError(path="out", reason="it is not complete; run it again"),
    errors.MediaError("'a.jpg' is odd. Replace it.", kind="medium_mismatch"),
    errors.MissingExtraError(package="ray", extra="cluster", need="A cluster"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_reaches_another_process_as_it_is(error):
    found = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    assert type(found) is type(error)
    assert (str(found), found.kind, vars(found)) == (str(error), error.kind, vars(error))
