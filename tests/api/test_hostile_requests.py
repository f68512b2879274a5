"""Two dozen hostile requests, each with the answer that docs/results/server.md states; none tells a folder of ours."""

import json
from pathlib import Path

import pytest

SEARCH = {"queries": [{"text": "a red cap"}], "k": 1}
DEEP = '{"queries":' + "[" * 20_000 + "]" * 20_000 + "}"
FORM = "multipart/form-data; boundary=x"
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "server.md"


def post(body, **headers):
    kind = {"content-type": "application/json"}
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return {"method": "POST", "url": "/v1/search", "content": content, "headers": {**kind, **headers}}


def get(url, method="GET", **headers):
    return {"method": method, "url": url, "headers": headers}


CASES = {
    "JSON nested 20,000 deep": (post(DEEP), 400, "bad_request"),
    "JSON with a lone surrogate": (post('{"queries":[{"text":"\\ud800"}]}'), 400, "bad_request"),
    "JSON that is not UTF-8": (post(b'{"queries":[{"text":"\xff"}]}'), 400, "bad_request"),
    "the same key twice, then garbage": (post('{"k":1,"k":2}]'), 400, "bad_request"),
    "k of 1e400": (post('{"queries":[{"text":"a"}],"k":1e400}'), 400, "bad_request"),
    "k of -1": (post({**SEARCH, "k": -1}), 400, "bad_request"),
    "k as a truth value": (post({**SEARCH, "k": True}), 400, "bad_request"),
    "k of 2^63": (post({**SEARCH, "k": 2**63}), 400, "out_of_range"),
    "a text of NUL bytes": (post({"queries": [{"text": "\0\0\0"}]}), 422, "unreadable"),
    "a class with SQL": (post({**SEARCH, "class_names": ["x') OR 1=1 --"]}), 404, "unknown_name"),
    "an item id with SQL": (post({"queries": [{"item_id": "' OR '1'='1"}]}), 404, "unknown_item"),
    "an item id that is a path": (get("/v1/media/..%2F..%2F..%2Fetc%2Fpasswd"), 404, "unknown_item"),
    "an item id that is an absolute path": (get("/v1/media/%2Fetc%2Fpasswd"), 404, "unknown_item"),
    "an item id with NUL": (get("/v1/items/a%00b"), 404, "unknown_item"),
    "a length that is no number": (post(SEARCH, **{"content-length": "1e3"}), 200, None),
    "a declared length of 10^30": (post(SEARCH, **{"content-length": "1" + "0" * 30}), 413, "body_too_large"),
    "a form without a boundary": (post(b"--x", **{"content-type": "multipart/form-data"}), 400, "bad_request"),
    "a form of 1,000 empty parts": (
        post(b"--x\r\ncontent-disposition: form-data\r\n\r\n\r\n" * 1_000 + b"--x--\r\n", **{"content-type": FORM}),
        400,
        "bad_request",
    ),
    "a part with a path for a name": (
        post(
            b'--x\r\ncontent-disposition: form-data; name="file"; filename="../../../etc/cron.d/x.txt"\r\n\r\n'
            b"a red cap\r\n--x--\r\n",
            **{"content-type": FORM},
        ),
        200,
        None,
    ),
    "a body of another type": (post(b"<a/>", **{"content-type": "text/xml"}), 415, "content_type"),
    "a method of its own": (get("/v1/items", method="BREW"), 405, "method_not_allowed"),
    "a thumbnail of 2^31 pixels": (get("/v1/thumbnails/x?pixels=2147483648"), 400, "out_of_range"),
    "a waveform from NaN": (get("/v1/waveforms/x?start_seconds=nan"), 400, "bad_request"),
    "a page after an id of 100,000 letters": (get(f"/v1/items?after={'a' * 60_000}"), 400, "bad_request"),
    "a job of a source that is a path": (
        {"method": "POST", "url": "/v1/jobs", "json": {"source": "../../etc"}},
        404,
        "unknown_source",
    ),
    "a mark as a formula": (
        {"method": "POST", "url": "/v1/marks/classes", "json": {"class_name": "=cmd()", "item_ids": ["none"]}},
        404,
        "unknown_item",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_request_gets_the_answer_that_is_stated(client, toy_gallery, name):
    request, status, kind = CASES[name]
    answer = client.request(**request)
    assert answer.status_code == status, answer.text[:300]
    assert kind is None or (answer.json()["kind"], len(answer.text) < 1_000) == (kind, True)
    assert str(toy_gallery) not in answer.text
    assert "root:" not in answer.text
    assert f"| {name} | {status} |" in RESULTS.read_text(encoding="utf-8")
