"""Fixtures every room may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real media and models that stands beside the checkout, where there is one."""
    folder = Path(os.environ.get("FIELDMARK_TEST_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared media are not beside this checkout")
    return folder
