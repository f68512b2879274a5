"""A served gallery, asked in this process."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from fieldmark import Runtime


@pytest.fixture(scope="session")
def serve(toy_gallery: Path, toy_runtime: "Runtime") -> Iterator[Callable[..., "TestClient"]]:
    """Makes clients of a server of the toy gallery; each may have limits, a token and sources of its own."""
    from starlette.testclient import TestClient

    from fieldmark import Gallery
    from fieldmark.api.app import create_app
    from fieldmark.api.security import Access
    from fieldmark.api.service import ServeOptions, Service
    from fieldmark.config import ServeLimits

    services = []

    def make(*, folder: Path = toy_gallery, token=None, host_names=(), sources=None, **limits) -> TestClient:
        options = ServeOptions(
            limits=ServeLimits(**limits), access=Access(token, frozenset(host_names)), sources=sources or {}
        )
        service = Service(Gallery.open(folder, runtime=toy_runtime), options=options, runtime=toy_runtime)
        services.append(service)
        return TestClient(create_app(service), base_url="http://127.0.0.1", raise_server_exceptions=True)

    yield make
    for service in services:
        service.close()


@pytest.fixture(scope="session")
def client(serve: Callable[..., "TestClient"]) -> "TestClient":
    """A client of the toy gallery with the default limits."""
    return serve()


@pytest.fixture
def own_gallery(toy_gallery: Path, tmp_path: Path) -> Path:
    """A copy of the toy gallery that a test may change."""
    return Path(shutil.copytree(toy_gallery, tmp_path / "gallery"))


@pytest.fixture
def upload_folder(tmp_path, monkeypatch):
    """Where uploads go in this test; nothing may be left in it at the end."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
