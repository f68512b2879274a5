"""A real server: heads that do not arrive, a full disk, a proxy in front of it, and clients that follow jobs."""

import asyncio
import errno
import io
import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from fieldmark.api import uploads
from fieldmark.api.process import format_address, is_loopback, listen, make_access, make_server
from fieldmark.api.security import SESSION_COOKIE
from fieldmark.errors import ConfigError

TOKEN = "correct-horse-battery"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@contextmanager
def running(client, *, host="127.0.0.1"):
    """Serves the application of a client at an address of its own."""
    listener = listen(host, 0)
    server = make_server(client.app.state.service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield format_address(listener).rstrip("/"), listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def is_closed(connection, *, seconds):
    connection.settimeout(seconds)
    try:
        while True:
            if connection.recv(4096) == b"":
                return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [b"GET /v1/health HTTP/1.1\r\nhost: 127"],
        [b"GET /v1/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"GET /"],
    ],
    ids=["nothing", "half a head", "half of the second head"],
)
def test_a_head_that_does_not_arrive_is_not_waited_for(serve, sent):
    with running(serve(head_seconds=0.3)) as (address, location), socket.create_connection(location) as slow:
        began = time.monotonic()
        for part in sent:
            slow.sendall(part)
            time.sleep(0.1)
        assert is_closed(slow, seconds=5)
        assert time.monotonic() - began < 3
        assert httpx.get(f"{address}/v1/health").status_code == 200


def test_a_slow_drip_of_a_head_is_not_waited_for(serve):
    with running(serve(head_seconds=0.4)) as (_, location), socket.create_connection(location) as slow:
        slow.sendall(b"GET /v1/health HTTP/1.1\r\n")
        began, is_open = time.monotonic(), True
        while is_open and time.monotonic() - began < 5:
            try:
                slow.sendall(b"x-a: b\r\n")
            except OSError:
                is_open = False
            time.sleep(0.05)
        assert not is_open


def test_a_body_may_take_longer_than_a_head(serve):
    body = json.dumps({"queries": [{"text": "a red cap"}], "k": 1}).encode()
    head = b"POST /v1/search HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    with running(serve(head_seconds=0.2)) as (_, location), socket.create_connection(location) as slow:
        slow.sendall(head + f"content-length: {len(body)}\r\n\r\n".encode())
        time.sleep(0.6)
        slow.sendall(body)
        slow.settimeout(30)
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.slow
def test_many_silent_connections_shut_nobody_out_for_long(serve):
    with running(serve(head_seconds=1.0)) as (address, location):
        silent = [socket.create_connection(location) for _ in range(1_030)]
        deadline = time.monotonic() + 10
        while (answer := httpx.get(f"{address}/v1/health", timeout=10)).status_code != 200:
            assert time.monotonic() < deadline, answer.status_code
            time.sleep(0.2)
        for each in silent:
            each.close()


def test_event_streams_beyond_the_limit_are_refused_before_they_begin(serve, own_gallery, tmp_path, toy_items):
    (tmp_path / "one").mkdir()
    shutil.copy(next(item.path for item in toy_items if item.path is not None), tmp_path / "one")
    client = serve(folder=own_gallery, sources={"one": tmp_path / "one"}, event_streams=1)
    service = client.app.state.service
    job_id = client.post("/v1/jobs", json={"source": "one"}).json()["job_id"]

    async def fill() -> None:
        service.followers.acquire()

    asyncio.run(fill())
    refused = client.get(f"/v1/jobs/{job_id}/events")
    assert (refused.status_code, refused.json()["kind"]) == (503, "overloaded")
    service.followers.release()
    for _ in range(3):  # each gives its place back
        assert client.get(f"/v1/jobs/{job_id}/events").status_code == 200
    assert service.followers.in_use == 0


class FullFile(io.FileIO):
    """A file on a disk with room for 1,000 bytes."""

    def write(self, data):
        if self.tell() + len(data) > 1_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_full_upload_disk_is_told_and_leaves_nothing(client, upload_folder, monkeypatch):
    monkeypatch.setattr(uploads.io, "FileIO", FullFile)
    answer = client.post("/v1/search", files=[("file", ("song.wav", bytes(200_000)))])
    assert (answer.status_code, answer.json()["kind"]) == (507, "disk_full")
    assert client.app.state.service.uploads.in_use == 0


# ---------------------------------------------------------------- addresses and proxies


def test_every_loopback_address_is_one_of_this_machine():
    assert is_loopback("127.0.0.2")
    assert "127.0.0.2" in make_access("127.0.0.2", token=None).host_names
    assert "evil.example" not in make_access("127.0.0.2", token=None).host_names


@pytest.mark.parametrize(
    "url",
    ["birds.example", "ftp://birds.example", "https://", "https://a/b", "https://u@a", "https://a:x", "https://[a"],
)
def test_what_is_no_public_url_is_told(url):
    with pytest.raises(ConfigError, match="--public-url"):
        make_access("127.0.0.1", token=None, public_url=url)


@pytest.fixture
def shown(serve):
    """A server that a proxy shows as https://birds.example."""
    access = make_access("127.0.0.1", token=TOKEN, public_url="https://Birds.Example:443/")
    client = serve()
    service = client.app.state.service
    service.access = access
    from starlette.testclient import TestClient

    from fieldmark.api.app import create_app

    return TestClient(create_app(service), base_url="https://birds.example")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://birds.example"}, 200),
        ({"origin": "https://birds.example", "host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost:8000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://birds.example:444"}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example", "x-forwarded-host": "birds.example"}, 403),
        ({"origin": "https://[birds"}, 403),
    ],
)
def test_host_and_origin_follow_the_public_url(shown, headers, status):
    body = {"queries": [{"text": "a red bird"}], "k": 1}
    assert shown.post("/v1/search", json=body, headers={**BEARER, **headers}).status_code == status


def test_a_session_is_secure_behind_a_proxy_and_ends_on_the_server(shown):
    begun = shown.post("/v1/session", headers=BEARER)
    assert "secure" in begun.headers["set-cookie"].lower()
    value = begun.cookies[SESSION_COOKIE]
    shown.cookies.clear()
    beside = {"cookie": f'theme={{"a": 1}}; bad name; {SESSION_COOKIE}={value}; =; x=\u00e9'.encode("latin-1")}
    assert shown.get("/v1/items", headers=beside).status_code == 200
    assert shown.delete("/v1/session", headers=beside).status_code == 204
    assert shown.get("/v1/items", headers=beside).status_code == 401  # a copy of the cookie is of no use


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port}; client_max_body_size 65m;
    location / {{ proxy_pass http://{host}:{upstream}; proxy_set_header Host $host; proxy_buffering off; }}
  }}
}}
"""


@pytest.mark.slow
def test_behind_nginx(serve, tmp_path):
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    client = serve()
    service = client.app.state.service
    service.access = make_access("127.0.0.2", token=TOKEN, public_url="https://birds.example")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(client, host="127.0.0.2") as (_, (host, upstream)):
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, host=host, upstream=upstream))
        command = [nginx, "-c", str(tmp_path / "nginx.conf")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603
            try:
                with httpx.Client(
                    base_url=f"http://127.0.0.1:{port}",
                    headers={"host": "birds.example", "origin": "https://birds.example"},
                    transport=httpx.HTTPTransport(retries=5),
                ) as page:
                    assert page.get("/v1/health").json()["needs_token"] is True
                    begun = page.post("/v1/session", headers=BEARER)
                    assert "Secure" in begun.headers["set-cookie"]
                    body = {"queries": [{"text": "a red bird"}], "k": 1}
                    assert page.post("/v1/search", json=body, headers=BEARER).status_code == 200
                    foreign = {**BEARER, "origin": "https://evil.example"}
                    assert page.post("/v1/search", json=body, headers=foreign).status_code == 403
                    assert page.get("/v1/health", headers={"host": "evil.example"}).status_code == 403
            finally:
                process.terminate()
                process.wait(10)
