"""The whole API: its text as committed, errors of one shape, and what is counted."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from fieldmark.api.app import ROUTES, describe_api
from fieldmark.api.process import format_address, is_loopback, listen
from fieldmark.config import ServeLimits
from fieldmark.errors import ConfigError

TOKEN = "a-token-of-this-test"
OPENAPI = Path(__file__).with_name("openapi.json")
"""The OpenAPI text; written anew where the variable FIELDMARK_WRITE_HELP is set."""


def test_openapi_is_as_committed(client):
    met = client.get("/v1/openapi.json").json()
    if os.environ.get("FIELDMARK_WRITE_HELP"):
        OPENAPI.write_text(json.dumps(met, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert met == json.loads(OPENAPI.read_text(encoding="utf-8"))


def test_every_limit_stands_in_the_openapi_text():
    limits = ServeLimits(max_k=77)
    text = describe_api(limits)
    assert all(f"`{name}`: {getattr(limits, name):,}" in text for name in ServeLimits.model_fields)
    assert "`max_k`: 77" in text
    assert all(field.description for field in ServeLimits.model_fields.values())


def test_every_reference_of_the_openapi_text_resolves(client):
    text = client.get("/v1/openapi.json").text
    schemas = json.loads(text)["components"]["schemas"]
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(schemas)


def test_every_route_stands_in_the_openapi_text_with_its_method(client):
    paths = client.get("/v1/openapi.json").json()["paths"]
    met = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert met == {(route.method, route.path.replace(":path", "")) for route in ROUTES}


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/etc/passwd", 404, "not_found"),
        ("PUT", "/v1/search", 405, "method_not_allowed"),
        ("GET", "/v1/items?limit=0", 400, "bad_request"),
        ("GET", "/v1/items?limit=x", 400, "bad_request"),
        ("GET", "/v1/items?limit=501", 400, "out_of_range"),
        ("GET", "/v1/items?media=smell", 400, "bad_request"),
        ("GET", "/v1/items/no-such-item", 404, "unknown_item"),
        ("GET", "/v1/jobs/none", 404, "unknown_job"),
        ("GET", "/v1/jobs/none/events", 404, "unknown_job"),
        ("DELETE", "/v1/jobs/none", 404, "unknown_job"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_shape(client, method, path, status, kind):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"kind", "message"}
    assert answer.json()["kind"] == kind


def test_health_tells_whether_a_token_is_needed(serve):
    assert serve().get("/v1/health").json()["needs_token"] is False
    assert serve(token=TOKEN).get("/v1/health").json()["needs_token"] is True


def test_metrics_count_requests_by_the_route_and_not_by_what_was_asked(serve):
    client = serve()
    for number in range(3):
        client.get(f"/v1/items/unknown-{number}")
    lines = client.get("/v1/metrics").text.splitlines()
    assert 'fieldmark_requests_total{method="GET",route="/v1/items/{item_id:path}",status="404"} 3.0' in lines
    assert 'fieldmark_request_seconds_count{route="/v1/items/{item_id:path}"} 3.0' in lines
    assert any(line.startswith("fieldmark_resident_bytes ") for line in lines)
    assert "unknown-" not in "\n".join(lines)


# ---------------------------------------------------------------- the process

UPLOAD_SECONDS = 1.0


@pytest.fixture(scope="module")
def uploads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def server(toy_gallery, uploads):
    """A server process on a free port: its address and its process."""
    code = "from fieldmark.cli.app import main; main()"
    limits = ["--limit", f"upload_seconds={UPLOAD_SECONDS}", "--limit", "search_places=4"]
    command = [sys.executable, "-c", code, "serve", "--gallery", str(toy_gallery), "--port", "0", *limits]
    environment = {**os.environ, "TMPDIR": str(uploads), "FIELDMARK_DEVICE": "cpu", "COLUMNS": "500"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        yield found[0].rstrip("/"), process
        process.kill()


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def wait_until_empty(folder: Path, *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while list(folder.iterdir()):
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.05)


def head(length: int, kind: str = "multipart/form-data; boundary=edge") -> bytes:
    return (
        f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


PART = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def test_it_answers_on_loopback_only(server):
    address, _ = server
    assert httpx.get(f"{address}/v1/health").json()["status"] == "ok"
    assert address.startswith("http://127.0.0.1:")
    assert httpx.get(f"{address}/v1/health", headers={"host": "evil.example"}).status_code == 403


def test_a_slow_upload_is_ended_and_nothing_of_it_stays(server, uploads):
    address, _ = server
    with connect(address) as line:
        line.sendall(head(1_000_000) + PART)
        began = time.monotonic()
        for _ in range(3):
            line.sendall(b"x")
            time.sleep(0.1)
        answer = line.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408")
    assert UPLOAD_SECONDS * 0.5 < time.monotonic() - began < UPLOAD_SECONDS + 5
    wait_until_empty(uploads)


def test_a_client_that_vanishes_leaves_nothing(server, uploads):
    address, _ = server
    for _ in range(5):
        with connect(address) as line:
            line.sendall(head(1_000_000) + PART + b"x" * 50_000)
    wait_until_empty(uploads)
    assert httpx.get(f"{address}/v1/health").status_code == 200


def test_ten_declared_gigabytes_are_refused_before_they_are_sent(server):
    address, _ = server
    for kind in ("multipart/form-data; boundary=edge", "application/json"):
        with connect(address) as line:
            line.sendall(head(10 * 1024**3, kind))
            assert line.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_line",
    [b"GET /../../etc/passwd HTTP/1.1", b"GET /v1/media/../../../etc/passwd HTTP/1.1", b"GET //etc/passwd HTTP/1.1"],
)
def test_dots_on_the_wire_lead_nowhere(server, request_line):
    address, _ = server
    with connect(address) as line:
        line.sendall(request_line + b"\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"root:" not in answer


def test_what_is_no_http_is_refused(server):
    address, _ = server
    with connect(address) as line:
        line.sendall(b"\x16\x03\x01\x02\x00\x01\x00" + bytes(200))
        assert line.recv(4096).startswith(b"HTTP/1.1 400")


def test_ids_are_unquoted_once(server):
    address, _ = server
    answer = httpx.get(f"{address}/v1/items/{quote('a%2e/b', safe='')}")
    assert "'a%2e/b'" in answer.json()["message"]


def test_many_at_once_are_answered_or_told_to_come_again(server):
    address, _ = server
    statuses, guard = [], threading.Lock()

    def ask():
        with httpx.Client(base_url=address, timeout=30) as client:
            for _ in range(5):
                answer = client.post("/v1/search", json={"queries": [{"text": "a red bird " * 50}], "k": 3})
                with guard:
                    statuses.append(answer.status_code)
                    assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 60
    assert set(statuses) <= {200, 503}
    assert 200 in statuses


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_bounded_whatever_is_sent(server, uploads):
    address, process = server

    def peak_kilobytes() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    before = peak_kilobytes()
    body = PART + b"\x89PNG\r\n\x1a\n" + b"\x00" * 30_000_000 + b"\r\n--edge--\r\n"
    for _ in range(5):
        headers = {"content-type": "multipart/form-data; boundary=edge"}
        assert httpx.post(f"{address}/v1/search", content=body, headers=headers, timeout=30).status_code == 422
    assert peak_kilobytes() - before < 60_000  # a file of 30 MB never stands in memory
    wait_until_empty(uploads)


def test_it_ends_when_it_is_told(server):
    _, process = server
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in {0, -signal.SIGTERM}
    assert "Traceback" not in process.stderr.read()


def test_an_address_that_is_taken_is_told():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert format_address(first) == f"http://127.0.0.1:{port}/"
        with pytest.raises(ConfigError, match="Choose another --port"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError):
        listen("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],  # noqa: S104
)
def test_loopback_is_told_apart(name, expected):
    assert is_loopback(name) is expected
