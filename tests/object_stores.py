"""Object stores for tests, here: fsspec's own in memory, a pretended S3 (moto), and an emulator of Google's."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def start_memory() -> Iterator[str]:
    """Use fsspec's store in memory; gives the address of a bucket.

    Its files have one position that all readers share, so two threads that copy one file would each get a part of it.
    Objects of a real store are read without one.
    """
    from fsspec.implementations.memory import MemoryFileSystem

    def get_file(driver: MemoryFileSystem, path: str, copy: str) -> None:
        Path(copy).write_bytes(driver.cat_file(path))

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(MemoryFileSystem, "get_file", get_file)
        yield f"memory://{uuid.uuid4()}"


@contextmanager
def start_s3() -> Iterator[str]:
    """Run an S3 that keeps its objects in memory; gives the address of a bucket."""
    for name in ("s3fs", "moto", "flask"):
        pytest.importorskip(name, reason="needs pip install s3fs 'moto[server]'")
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    bucket = f"birds-{uuid.uuid4().hex[:8]}"
    try:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", **keys}.items():
                environment.setenv(name, value)
            fsspec.get_filesystem_class("s3").clear_instance_cache()  # they know the server of an earlier test
            fsspec.filesystem("s3").mkdir(bucket)
            yield f"s3://{bucket}"
    finally:
        server.stop()


@contextmanager
def start_gcs() -> Iterator[str]:
    """Run the emulator in memory; gives the address of a bucket.

    It writes whatever the conditions of a request say, so the one that `create` needs is looked at here.
    """
    for name in ("gcsfs", "gcp_storage_emulator"):
        pytest.importorskip(name, reason="needs pip install gcsfs gcp-storage-emulator")
    import fsspec
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    port = server._api._httpd.server_address[1]
    bucket = f"birds-{uuid.uuid4().hex[:8]}"
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
            environment.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            _keep_condition(environment)
            fsspec.get_filesystem_class("gcs").clear_instance_cache()
            fsspec.filesystem("gcs").mkdir(bucket)
            yield f"gs://{bucket}"
    finally:
        server.stop()


def _keep_condition(patches: pytest.MonkeyPatch) -> None:
    """Let the emulator refuse to write over an object when a request says `ifGenerationMatch=0`, as Google does."""
    from gcp_storage_emulator.exceptions import NotFound
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import HANDLERS

    guard = threading.Lock()

    def insert(request: Any, response: Any, storage: Any, **options: Any) -> None:
        with guard:
            if request.query.get("ifGenerationMatch") == ["0"]:
                bucket, name = request.params["bucket_name"], request.data["meta"]["name"]
                with suppress(NotFound):
                    storage.get_file_obj(bucket, name)
                    response.status = HTTPStatus.PRECONDITION_FAILED
                    return
            objects.insert(request, response, storage, **options)

    for _, methods in HANDLERS:
        if methods.get("POST") is objects.insert:
            patches.setitem(methods, "POST", insert)
