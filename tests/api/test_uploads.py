"""Bodies: counted while they arrive, refused early, and no file of theirs stays, whatever they hold."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FORM = {"content-type": "multipart/form-data; boundary=edge"}


pytestmark = pytest.mark.usefixtures("upload_folder")


def part(name="file", content=b"a small brown bird", filename="note.txt", extra=b""):
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'.encode()
    return b"--edge\r\n" + disposition + b"\r\n" + extra + b"\r\n" + content + b"\r\n"


def post(client, body, headers=FORM):
    return client.post("/v1/search", content=body, headers=headers)


def test_a_form_is_read_part_by_part(client):
    request = part("request", json.dumps({"k": 2}).encode())
    answer = post(client, request + part() + b"--edge--\r\n")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 2
    assert post(client, part() + b"--edge--\r\n").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "bad_request"),
        (b"--edge--\r\n", 400, "bad_request"),
        (part("request", b"{}") + b"--edge--\r\n", 400, "bad_request"),
        (part(), 400, "bad_request"),
        (part()[:40], 400, "bad_request"),
        (b"no form at all", 400, "bad_request"),
        (part("other") + b"--edge--\r\n", 400, "bad_request"),
        (part("request", b"{}") * 2 + part() + b"--edge--\r\n", 400, "bad_request"),
        (part() * 5 + b"--edge--\r\n", 400, "bad_request"),
        (part() * 5_000 + b"--edge--\r\n", 400, "bad_request"),
        (part("request", b"not json") + part() + b"--edge--\r\n", 400, "bad_request"),
        (part("request", b"{" * 100_000) + part() + b"--edge--\r\n", 400, "bad_request"),
        (part("request", b"x" * 300_000) + part() + b"--edge--\r\n", 413, "body_too_large"),
        (part(extra=b"X: y\r\n" * 100) + b"--edge--\r\n", 400, "bad_request"),
        (part(extra=b"X: " + b"y" * 100_000 + b"\r\n") + b"--edge--\r\n", 400, "bad_request"),
        (part(content=b"") + b"--edge--\r\n", 422, "empty"),
    ],
)
def test_a_form_that_is_none_is_told(client, body, status, kind):
    answer = post(client, body)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert len(answer.text) < 2000


@pytest.mark.parametrize(
    "filename",
    ["../../escape.txt", "/etc/cron.d/x", "a\x00.txt", "x" * 3000 + ".txt", "..", "", "a/b.\\..\\c.t/xt", "%2e%2e"],
)
def test_the_name_of_an_upload_is_never_a_path(client, upload_folder, filename):
    answer = post(client, part(filename=filename) + b"--edge--\r\n")
    assert answer.status_code in {200, 400}
    assert {path.name for path in upload_folder.parent.rglob("*")} <= {"uploads"}


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "", "image/jpeg", "multipart/form-data", "application/json5"],
)
def test_other_types_of_bodies_are_refused(client, kind):
    answer = post(client, b'{"queries": [{"text": "a"}]}', {"content-type": kind})
    assert answer.status_code in {400, 415}


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=edge"])
@pytest.mark.parametrize("length", [str(10 * 1024**3), "9" * 30])
def test_a_declared_length_is_refused_before_anything_is_read(client, kind, length):
    read = []

    def body():
        read.append(1)
        yield b"{}"

    answer = client.post("/v1/search", content=body(), headers={"content-type": kind, "content-length": length})
    assert (answer.status_code, answer.json()["kind"]) == (413, "body_too_large")


def test_what_arrives_is_counted_where_no_length_is_declared(serve):
    client = serve(max_body_bytes=100_000, max_json_bytes=1_000)

    def stream(first, block, count):
        yield first
        for _ in range(count):
            yield block

    answer = client.post("/v1/search", content=stream(part()[:-2], b"x" * 10_000, 100), headers=FORM)
    assert (answer.status_code, answer.json()["kind"]) == (413, "body_too_large")
    answer = client.post(
        "/v1/search", content=stream(b"[", b" " * 100, 100), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["kind"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"queries":' * 20_000,
        b"\xff\xfe{}",
        b'{"queries": [{"text": "\\ud800"}]}',
        b'{"queries": [{"text": "\xff"}]}',
        b'{"queries": [{"text": "a"}], "k": 1e999}',
        b'{"queries": [{"text": "a"}], "k": ' + b"9" * 5_000 + b"}",
        b'{"queries": [' + b'{"text": "a"},' * 10_000 + b'{"text": "a"}]}',
        b"{" + b'"a": 1,' * 30_000 + b'"b": 2}',
        b"nul",
        b"",
    ],
)
def test_hostile_json_is_told_quickly_and_shortly(client, body):
    began = time.process_time()  # of this process alone, however busy the machine is
    answer = post(client, body, {"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert len(answer.text) < 2000
    assert time.process_time() - began < 2


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=400)
    | st.tuples(st.binary(max_size=40), st.integers(0, 200)).map(
        lambda drawn: (part("request", b"{}") + part() + b"--edge--\r\n")[: drawn[1]] + drawn[0]
    ),
    kind=st.sampled_from(["application/json", "multipart/form-data; boundary=edge"]),
)
def test_any_bytes_are_answered_with_an_error_of_the_one_shape(client, body, kind):
    answer = post(client, body, {"content-type": kind})
    assert answer.status_code == 200 or (400 <= answer.status_code < 500 and set(answer.json()) == {"kind", "message"})


def test_messages_name_the_part_and_not_a_path_of_the_server(client, upload_folder):
    answer = post(client, part(content=b"\x89PNG\r\n\x1a\n damaged", filename="bird.png") + b"--edge--\r\n")
    assert (answer.status_code, answer.json()["kind"]) == (422, "unreadable")
    assert "file-1.png" in answer.json()["message"]
    assert str(Path(upload_folder)) not in answer.text


def test_parts_are_told_by_their_names_with_a_file_name_or_without(client):
    fields = b'--edge\r\nContent-Disposition: form-data; name="request"\r\n\r\n'
    assert post(client, fields + b'{"k": 3}\r\n' + part() + b"--edge--\r\n").status_code == 200
    large = post(client, fields + b"x" * 300_000 + b"\r\n" + part() + b"--edge--\r\n")
    assert (large.status_code, large.json()["kind"]) == (413, "body_too_large")
    assert "max_json_bytes" in large.json()["message"]
    unnamed = post(client, fields.replace(b"request", b"file") + b"a bird\r\n--edge--\r\n")
    assert (unnamed.status_code, unnamed.json()["query"]["medium"]) == (200, "text")


def test_a_form_that_ends_after_a_whole_file_is_cut_off_all_the_same(client):
    answer = post(client, part() + part()[:-9])
    assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")
    assert "cut off" in answer.json()["message"]
