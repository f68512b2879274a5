"""Who may ask: tokens, sessions, hosts, other sites; and the headers of every answer."""

import pytest

from fieldmark.api.security import SESSION_COOKIE

TOKEN = "correct-horse-battery"
BEARER = {"authorization": f"Bearer {TOKEN}"}
SEARCH = {"queries": [{"text": "a red bird"}], "k": 1}


@pytest.fixture(scope="module")
def guarded(serve):
    return serve(token=TOKEN)


def photo_of(client, headers):
    return next(i for i in client.get("/v1/items", headers=headers).json()["items"] if i["medium"] == "image")


@pytest.mark.parametrize(
    "path", ["items", "gallery", "classes", "map", "metrics", "jobs", "media/x", "thumbnails/x", "spectrograms/x"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \u00fc".encode()},
        {"cookie": f"{SESSION_COOKIE}={TOKEN}"},
        {"cookie": "a=b; =; \x7f"},
    ],
)
def test_without_the_token_nothing_is_told(guarded, path, headers):
    answer = guarded.get(f"/v1/{path}", headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_with_the_token_everything_is_told(guarded):
    assert guarded.get("/v1/items", headers=BEARER).status_code == 200
    assert guarded.post("/v1/search", json=SEARCH, headers=BEARER).status_code == 200


def test_a_session_opens_what_a_page_shows_and_changes_nothing(serve):
    guarded = serve(token=TOKEN)
    assert guarded.post("/v1/session").status_code == 401
    begun = guarded.post("/v1/session", headers=BEARER)
    assert begun.status_code == 204
    cookie = begun.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/v1"))
    assert TOKEN not in cookie
    photo = photo_of(guarded, {})  # the client keeps the cookie, as a browser does
    assert guarded.get(photo["media_url"]).status_code == 200
    assert guarded.get(photo["thumbnail_url"]).status_code == 200
    assert guarded.post("/v1/search", json=SEARCH).status_code == 401
    assert guarded.post("/v1/jobs", json={"source": "x"}).status_code == 401
    guarded.delete("/v1/session")
    assert guarded.get(photo["media_url"]).status_code == 401


def test_a_session_ends_with_its_token(serve):
    value = serve(token=TOKEN).post("/v1/session", headers=BEARER).cookies[SESSION_COOKIE]
    other = serve(token="another-token-altogether")
    assert other.get("/v1/items", headers={"cookie": f"{SESSION_COOKIE}={value}"}).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:9", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("", 403),
        ("[::1", 403),
    ],
)
def test_on_loopback_only_names_of_this_machine_are_answered(serve, host, status):
    client = serve(host_names=["localhost", "127.0.0.1", "::1"])
    answer = client.get("/v1/health", headers={"host": host})
    assert answer.status_code == status
    assert status == 200 or answer.json()["kind"] == "foreign_request"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:81"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_another_site_cannot_post(client, headers, status):
    assert client.post("/v1/search", json=SEARCH, headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/v1/health", "/v1/items", "/v1/nothing", "/nothing", "/v1/items/none"])
def test_every_answer_carries_the_protecting_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_what_nobody_foresaw_is_one_clear_answer_and_a_line_in_the_log(serve, caplog):
    client = serve()

    class Broken:
        def counts(self):
            raise RuntimeError("a secret of the inside")

    client.app.state.service.gallery.index = Broken()
    answer = client.get("/v1/classes")
    assert (answer.status_code, answer.json()["kind"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "a secret of the inside" in caplog.text
