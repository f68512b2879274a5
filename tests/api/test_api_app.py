"""The whole API: its text as committed, errors of one shape, and what is counted."""

import json
import os
from pathlib import Path

import pytest

from fieldmark.api.app import ROUTES, describe_api
from fieldmark.config import ServeLimits

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
