"""What the OpenAPI text allows is answered as it says, and what it forbids is refused: tried by schemathesis."""

import pytest
from hypothesis import HealthCheck, given, seed, settings

schemathesis = pytest.importorskip("schemathesis")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

EXAMPLES = 12


UNFIT = ("positive_data_acceptance", "missing_required_header", "ignored_auth", "use_after_free")
"""Checks of what no schema says: that every id exists, or that there are accounts."""


def test_every_route_answers_as_the_openapi_text_says(serve, own_gallery):
    client = serve(folder=own_gallery, max_k=20, max_listed=20, max_queries=2)
    described = schemathesis.openapi.from_asgi("/v1/openapi.json", client.app)
    unfit = schemathesis.checks.CHECKS.get_by_names(list(UNFIT))
    asked = []
    for operation in (each.ok() for each in described.get_all_operations()):
        if operation.path.endswith("/events"):
            continue

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @seed(0)
        def ask(case):
            response = case.call(headers={"host": "127.0.0.1"})
            case.validate_response(response, excluded_checks=unfit)

        ask()
        asked.append(operation.label)
    assert len(asked) > 20
