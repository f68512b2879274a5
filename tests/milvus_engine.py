"""An engine of Milvus for tests: `milvus-lite server` on this machine, and stores in it."""

import asyncio
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldmark.gallery.address import EngineAccess, MilvusAddress, parse_address
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.index import MilvusIndex

TOKEN = os.environ.get("FIELDMARK_TEST_MILVUS_TOKEN")
"""Of the administrator of the engine that FIELDMARK_TEST_MILVUS names, where it asks for one."""
_START_SECONDS = 300.0


@contextmanager
def start_milvus_lite(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """Run an engine; gives its address."""
    port = port or find_free_port()
    command = [str(Path(sys.executable).with_name("milvus-lite")), "server", "--data-dir", str(folder)]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for_port(port, process)
        yield f"milvus://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def wrap_in_tls(port: int, *, certificate: Path, key: Path) -> Iterator[int]:
    """Take TLS connections, and pass on what they say to a port without TLS; gives the port for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])  # gRPC asks for it

    found: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        except asyncio.CancelledError:  # the test is over
            return
        finally:
            for each in (back, writer):
                each.transport.abort()

    async def run() -> None:
        ended = asyncio.Event()
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        found.put((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), ended))
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    own_port, loop, ended = found.get(timeout=30)
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=30)


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of this machine that is signed by itself, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-days", "2"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)  # noqa: S603 - our own command
    return certificate, key


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"milvus-lite ended with {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("milvus-lite does not answer")


def open_files(server: str, name: str, **options: object) -> MilvusFiles:
    """The files of a gallery, read anew whenever they are asked for."""
    address = parse_address(f"{server}/{name}")
    assert isinstance(address, MilvusAddress)
    return MilvusFiles(address, access=EngineAccess(token=TOKEN), fresh_seconds=0.0, **options)


class MilvusStores:
    """Empty stores of 8 dimensions; one is emptied for the next, since making a collection takes longer than a test.

    Folders of different names have different stores, so that the store of a module outlives those of its tests.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._indexes: dict[str, MilvusIndex] = {}

    def make_empty(self, folder: Path) -> MilvusIndex:
        index = self._indexes.get(folder.name)
        if index is None:
            files = open_files(self._server, f"suite_{uuid.uuid4().hex[:8]}")
            index = self._indexes[folder.name] = MilvusIndex.create(files, fingerprint="sparrow", dim=8)
        index.remove(index.content_hashes().keys())
        return index
