"""`data fetch` against a server of this machine: what comes, what does not, and what is written down."""

import csv
import gzip
import hashlib
import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from media_server import LOCAL, Answer, draw_picture

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.datasets.fetch import FetchOptions, fetch
from fieldmark.datasets.fetching.addresses import AddressPolicy
from fieldmark.errors import ConfigError, DownloadError, ManifestError, TooManyFailuresError
from fieldmark.types import Medium

PICTURE = draw_picture(0, side=200)


def read_table(manifest):
    with manifest.with_name("birds.fetched.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def kinds(report):
    return {each.item_id: each.kind for each in (*report.failures, *report.differing)}


# ---------------------------------------------------------------- what comes


def test_files_come_with_hash_size_and_type_written_down(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE, etag='"1"', headers={"Content-Type": "image/png"})
    manifest = make_manifest({"media/a.png": server.address("/a.png")}, license="CC0_1_0")
    report = fetch(manifest, options=replace(options, contact="someone@example.org"))
    assert (report.fetched, report.present, report.fetched_bytes) == (1, 0, len(PICTURE))
    assert (manifest.parent / "media/a.png").read_bytes() == PICTURE
    row = read_table(manifest)["media/a.png"]
    assert row["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (row["status"], row["byte_count"], row["content_type"]) == ("fetched", str(len(PICTURE)), "image/png")
    assert (row["etag"], row["license"], row["address"]) == ('"1"', "CC0_1_0", server.address("/a.png"))
    [(_, headers)] = server.requests
    assert headers["Host"] == f"{LOCAL}:{server.port}"
    assert headers["User-Agent"].startswith("fieldmark/")
    assert "someone@example.org" in headers["User-Agent"]
    assert not {"Cookie", "Authorization"} & set(headers)
    assert [each.name for each in (manifest.parent / "media").iterdir()] == ["a.png"]


def test_what_is_here_is_not_asked_for_again(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png")})
    fetch(manifest, options=options)
    before = read_table(manifest)
    again = fetch(manifest, options=options)
    assert (again.fetched, again.present) == (0, 1)
    assert server.count("/a.png") == 1
    assert read_table(manifest) == before


def test_redirects_are_followed_and_written_down(server, make_manifest, options):
    server.answers["/old"] = Answer(status=301, headers={"Location": "/new?x=1"})
    server.answers["/new?x=1"] = Answer(status=307, headers={"Location": server.address("/a.png")})
    server.answers["/a.png"] = Answer(PICTURE)
    server.answers["/round"] = Answer(status=302, headers={"Location": "/round"})
    manifest = make_manifest({"a.png": server.address("/old"), "b.png": server.address("/round")})
    report = fetch(manifest, options=options)
    assert (report.fetched, kinds(report)) == (1, {"b.png": "redirects"})
    assert read_table(manifest)["a.png"]["final_address"] == server.address("/a.png")
    assert server.count("/round") == 9


def test_one_file_of_several_items_comes_once(server, make_manifest, options, tmp_path):
    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png")})
    text = manifest.read_text()
    manifest.write_text(text + text.splitlines()[1].replace("a.png,", "second,", 1) + "\n")
    assert len(read_manifest(manifest)) == 2
    assert fetch(manifest, options=options).fetched == 1
    assert server.count("/a.png") == 1


def test_the_manifest_of_what_is_here_has_hashes_and_no_missing_files(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png"), "b.png": server.address("/gone.png")})
    out = manifest.with_name("here.csv")
    fetch(manifest, options=options, out=out)
    [item] = read_manifest(out)
    assert (item.item_id, dict(item.extra)["sha256"]) == ("a.png", hashlib.sha256(PICTURE).hexdigest())


# ---------------------------------------------------------------- breaks, stalls, busy hosts


def test_a_break_is_continued_where_it_was(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE, etag='"1"', steps=[Answer(PICTURE, etag='"1"', breaks_after=50_000)])
    manifest = make_manifest({"a.png": server.address("/a.png")})
    assert fetch(manifest, options=options).fetched == 1
    assert (manifest.parent / "a.png").read_bytes() == PICTURE
    second = server.requests[1][1]
    assert second["If-Range"] == '"1"'
    assert 0 < int(second["Range"].removeprefix("bytes=").rstrip("-")) <= 50_000


def test_a_later_run_continues_what_broke_off(server, make_manifest, options):
    broken = Answer(PICTURE, etag='"1"', breaks_after=60_000)
    server.answers["/a.png"] = broken
    manifest = make_manifest({"a.png": server.address("/a.png")})
    once = replace(options, pace=replace(options.pace, attempts=1))
    assert kinds(fetch(manifest, options=once)) == {"a.png": "unreachable"}
    server.answers["/a.png"] = Answer(PICTURE, etag='"1"')
    assert fetch(manifest, options=once).fetched == 1
    assert (manifest.parent / "a.png").read_bytes() == PICTURE
    assert "Range" in server.requests[1][1]


def test_a_file_that_changed_meanwhile_is_begun_anew(server, make_manifest, options):
    other = draw_picture(1, side=200)
    server.answers["/a.png"] = Answer(other, etag='"2"', steps=[Answer(PICTURE, etag='"1"', breaks_after=50_000)])
    manifest = make_manifest({"a.png": server.address("/a.png")})
    assert fetch(manifest, options=options).fetched == 1
    assert (manifest.parent / "a.png").read_bytes() == other


@pytest.mark.parametrize(
    "second",
    [
        Answer(status=416),
        Answer(PICTURE[10:], etag='"1"', status=206, headers={"Content-Range": f"bytes 10-{len(PICTURE) - 1}/9"}),
    ],
)
def test_a_wrong_part_is_begun_anew(server, make_manifest, options, second):
    broken = Answer(PICTURE, etag='"1"', breaks_after=50_000)
    second.etag = ""  # so that the server sends it as it is
    server.answers["/a.png"] = Answer(PICTURE, etag='"1"', steps=[broken, second])
    manifest = make_manifest({"a.png": server.address("/a.png")})
    assert fetch(manifest, options=options).fetched == 1
    assert (manifest.parent / "a.png").read_bytes() == PICTURE


def test_a_stall_is_given_up_and_continued(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE, etag='"1"', steps=[Answer(PICTURE, etag='"1"', stalls_after=50_000)])
    manifest = make_manifest({"a.png": server.address("/a.png")})
    begin = time.monotonic()
    assert fetch(manifest, options=options).fetched == 1
    assert time.monotonic() - begin < 5
    assert "Range" in server.requests[1][1]
    assert (manifest.parent / "a.png").read_bytes() == PICTURE


def test_a_host_that_stalls_for_ever_ends_in_a_failure(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE, stalls_after=0)
    manifest = make_manifest({"a.png": server.address("/a.png")})
    patient = replace(options, pace=replace(options.pace, attempts=2, stall_seconds=0.2))
    assert kinds(fetch(manifest, options=patient)) == {"a.png": "stalled"}
    assert not (manifest.parent / "a.png").exists()


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_busy_host_is_asked_again_when_it_says(server, make_manifest, options, form):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    busy = Answer(status=429, headers={"Retry-After": "1" if form == "seconds" else soon})
    server.answers["/a.png"] = Answer(PICTURE, steps=[busy])
    manifest = make_manifest({"a.png": server.address("/a.png")})
    begin = time.monotonic()
    assert fetch(manifest, options=options).fetched == 1
    assert time.monotonic() - begin >= 0.9
    assert server.count("/a.png") == 2


def test_a_host_that_asks_for_a_long_wait_is_left_alone(server, make_manifest, options):
    busy = Answer(status=503, headers={"Retry-After": "3600"})
    server.answers = {f"/{n}.png": busy for n in range(6)}
    manifest = make_manifest({f"{n}.png": server.address(f"/{n}.png") for n in range(6)})
    report = fetch(manifest, options=options)
    assert set(kinds(report).values()) == {"busy"}
    assert len(kinds(report)) == 6
    assert len(server.requests) <= options.pace.at_once
    assert "3,600 seconds" in report.failures[0].message


def test_faults_that_may_pass_are_asked_again(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE, steps=[Answer(status=500), Answer(status=502)])
    server.answers["/b.png"] = Answer(status=500)
    manifest = make_manifest({"a.png": server.address("/a.png"), "b.png": server.address("/b.png")})
    report = fetch(manifest, options=options)
    assert (report.fetched, kinds(report)) == (1, {"b.png": "bad_answer"})
    assert (server.count("/a.png"), server.count("/b.png")) == (3, 3)


def test_a_host_is_asked_with_pauses_and_few_requests_at_once(server, make_manifest, options):
    times = []
    send = server._send

    def note(handler, answer):
        times.append(time.monotonic())
        send(handler, answer)

    server._send = note
    server.answers = {f"/{n}.png": Answer(PICTURE) for n in range(5)}
    manifest = make_manifest({f"{n}.png": server.address(f"/{n}.png") for n in range(5)})
    assert fetch(manifest, options=replace(options, pace=replace(options.pace, pause_seconds=0.15))).fetched == 5
    assert min(later - one for one, later in itertools.pairwise(sorted(times))) > 0.1


# ---------------------------------------------------------------- what does not come


def test_what_is_gone_is_asked_for_once_and_listed(server, make_manifest, options):
    server.answers["/b.png"] = Answer(status=403)
    manifest = make_manifest({"a.png": server.address("/a.png"), "b.png": server.address("/b.png")})
    report = fetch(manifest, options=options)
    assert kinds(report) == {"a.png": "gone", "b.png": "forbidden"}
    assert len(server.requests) == 2
    assert read_table(manifest)["a.png"]["status"] == "gone"
    with pytest.raises(TooManyFailuresError, match="2 of 2"):
        report.check_failures(allowed_share=0.0)
    report.check_failures(allowed_share=1.0)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "text/html; charset=utf-8"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "image/png"),
        (b"A goldfinch sings from the birch.\n", "image/png"),
        (b"OggS\x00" + bytes(200), "audio/ogg"),
        (PICTURE[:4] + b"\x00" * 500, "image/png"),
    ],
)
def test_a_file_of_another_medium_is_not_put_in_place(server, make_manifest, options, content, content_type):
    server.answers["/a.png"] = Answer(content, headers={"Content-Type": content_type})
    manifest = make_manifest({"a.png": server.address("/a.png")})
    report = fetch(manifest, options=options)
    assert set(kinds(report).values()) <= {"web_page", "medium_mismatch", "not_prose", "unreadable"}
    assert len(report.failures) == 1
    assert not (manifest.parent / "a.png").exists()
    assert not list(manifest.parent.glob(".*.part"))


def test_an_empty_answer_is_no_file(server, make_manifest, options):
    server.answers["/a.png"] = Answer(b"")
    manifest = make_manifest({"a.png": server.address("/a.png")})
    assert kinds(fetch(manifest, options=options)) == {"a.png": "empty"}


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "9000000"}, {"Content-Encoding": "gzip"}])
def test_a_file_beyond_the_limit_is_refused(server, make_manifest, options, headers):
    content = gzip.compress(bytes(5_000_000)) if "Content-Encoding" in headers else PICTURE
    server.answers["/a.png"] = Answer(content, headers=headers)
    manifest = make_manifest({"a.png": server.address("/a.png")})
    small = replace(options, pace=replace(options.pace, largest_bytes=50_000))
    assert kinds(fetch(manifest, options=small)) == {"a.png": "too_long"}
    assert {each.name for each in manifest.parent.iterdir()} == {"birds.csv", "birds.fetched.csv"}


def test_only_the_wanted_licenses_are_fetched(server, make_manifest, options):
    server.answers = {f"/{n}.png": Answer(PICTURE) for n in range(4)}
    given = ["https://creativecommons.org/licenses/by/4.0/", "CC_BY_NC_4_0", "CC0 1.0", None]
    rows = {f"{n}.png": server.address(f"/{n}.png") for n in range(4)}
    manifest = make_manifest(rows)
    items = [replace(item, license=given[n]) for n, item in enumerate(read_manifest(manifest))]
    write_manifest(items, manifest)
    report = fetch(manifest, options=replace(options, licenses=("cc-by", "cc0")))
    assert report.left_out == {"CC BY-NC 4.0": 1, "none": 1}
    assert {path for path, _ in server.requests} == {"/0.png", "/2.png"}


# ---------------------------------------------------------------- a second machine


def test_a_second_machine_gets_the_same_bytes_or_is_told_which_differ(server, make_manifest, options, tmp_path):
    server.answers = {f"/{n}.png": Answer(draw_picture(n)) for n in range(3)}
    rows = {f"{n}.png": server.address(f"/{n}.png") for n in range(3)}
    fetch(make_manifest(rows), options=options)
    other = tmp_path / "other"
    other.mkdir()
    manifest = make_manifest(rows, folder=other)
    manifest.with_name("birds.fetched.csv").write_bytes((tmp_path / "birds.fetched.csv").read_bytes())
    server.answers["/1.png"] = Answer(draw_picture(77))
    report = fetch(manifest, options=options)
    assert (report.fetched, kinds(report)) == (2, {"1.png": "differs"})
    assert not (other / "1.png").exists()
    with pytest.raises(DownloadError, match=r"1\.png.*--accept-changes"):
        report.check_failures(allowed_share=1.0)
    kept = read_table(manifest)["1.png"]["sha256"]
    assert kept == hashlib.sha256(draw_picture(1)).hexdigest()  # so that a third run is told as well
    assert fetch(manifest, options=replace(options, accepts_changes=True)).fetched == 1
    assert read_table(manifest)["1.png"]["sha256"] == hashlib.sha256(draw_picture(77)).hexdigest()


def test_a_file_here_that_differs_is_told_and_left(server, make_manifest, options):
    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png")})
    fetch(manifest, options=options)
    (manifest.parent / "a.png").write_bytes(draw_picture(5))
    out = manifest.with_name("here.csv")
    assert kinds(fetch(manifest, options=options, out=out)) == {"a.png": "differs"}
    assert (manifest.parent / "a.png").read_bytes() == draw_picture(5)
    assert not read_manifest(out)


def test_the_hash_of_the_manifest_counts(server, make_manifest, options):
    server.answers = {"/a.png": Answer(PICTURE), "/b.png": Answer(draw_picture(3))}
    digest = hashlib.sha256(PICTURE).hexdigest()
    rows = {name: {"address": server.address(f"/{name}"), "sha256": digest.upper()} for name in ("a.png", "b.png")}
    report = fetch(make_manifest(rows), options=options)
    assert (report.fetched, kinds(report)) == (1, {"b.png": "differs"})


# ---------------------------------------------------------------- where it may lead


@pytest.mark.parametrize("host", [LOCAL, "localhost", "0x7f.1", "[::1]", "2130706433"])
def test_no_host_of_this_machine_is_asked_unasked(server, make_manifest, options, host):
    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png", host=host)})
    report = fetch(manifest, options=replace(options, policy=AddressPolicy()))
    assert set(kinds(report).values()) <= {"local_address", "unknown_host", "bad_address"}
    assert len(report.failures) == 1
    assert not server.requests


def test_a_redirect_leads_into_no_local_network(server, make_manifest, options):
    server.answers["/a.png"] = Answer(status=302, headers={"Location": server.address("/b.png", host="localhost")})
    server.answers["/c.png"] = Answer(status=302, headers={"Location": "file:///etc/passwd"})
    server.answers["/b.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png"), "c.png": server.address("/c.png")})
    assert kinds(fetch(manifest, options=options)) == {"a.png": "local_address", "c.png": "bad_address"}
    assert server.count("/b.png") == 0


def test_a_name_is_looked_up_once_and_its_number_is_asked(server, make_manifest, options):
    asked = []

    def rebind(host, port):
        asked.append(host)
        return ("192.168.7.7",) if len(asked) == 1 else (LOCAL,)

    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png", host="media.example")})
    first = fetch(manifest, options=replace(options, policy=AddressPolicy(resolve=rebind)))
    assert (kinds(first), asked) == ({"a.png": "local_address"}, ["media.example"])
    wanted = AddressPolicy(local_hosts=frozenset({"media.example"}), resolve=rebind)
    assert fetch(manifest, options=replace(options, policy=wanted)).fetched == 1
    assert len(asked) == 2
    assert server.requests[0][1]["Host"] == f"media.example:{server.port}"


@pytest.mark.parametrize(
    "address", ["ftp://example.org/a.png", "file:///etc/passwd", "https://me:secret@example.org/a.png", "http://", "x"]
)
def test_what_is_no_address_of_the_web_is_listed(make_manifest, options, address):
    assert kinds(fetch(make_manifest({"a.png": address}), options=options)) == {"a.png": "bad_address"}


def test_no_file_is_written_outside_the_folder(server, make_manifest, options, tmp_path):
    server.answers["/a.png"] = Answer(PICTURE)
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    (inner / "link").symlink_to(outer)
    rows = {name: server.address("/a.png") for name in ("../up.png", "link/b.png", "c.png")}
    report = fetch(make_manifest(rows, folder=inner), options=options)
    assert kinds(report) == {"../up.png": "outside_folder", "link/b.png": "outside_folder"}
    assert (report.fetched, list(outer.iterdir())) == (1, [])
    wider = replace(options, folder=tmp_path)
    assert fetch(inner / "birds.csv", options=wider).fetched == 2


def test_a_row_without_an_address_and_one_path_with_two_are_listed(make_manifest, server, options):
    server.answers["/a.png"] = Answer(PICTURE)
    manifest = make_manifest({"a.png": server.address("/a.png"), "b.png": {"note": "none"}})
    text = manifest.read_text()
    row = text.splitlines()[1].replace("a.png,", "second,", 1).replace("/a.png", "/z.png")
    manifest.write_text(f"{text}{row}\n")
    report = fetch(manifest, options=options)
    assert kinds(report) == {"b.png": "no_address", "second": "two_addresses"}
    assert report.fetched == 1


def test_a_table_that_is_none_and_a_contact_with_a_line_break_are_refused(make_manifest, options):
    manifest = make_manifest({"a.png": "https://example.org/a.png"})
    with pytest.raises(ConfigError, match="Give up to 200"):
        fetch(manifest, options=FetchOptions(contact="a\r\nHost: b"))
    manifest.with_name("birds.fetched.csv").write_text("path,sha256\na.png,xyz\n")
    with pytest.raises(ManifestError, match="Give the one"):
        fetch(manifest, options=options)


def test_a_failure_within_the_run_keeps_what_came(server, make_manifest, options):
    """A disk that is full ends the run; the table has what came before."""
    server.answers = {"/a.png": Answer(PICTURE), "/b.png": Answer(PICTURE)}
    manifest = make_manifest({"a.png": server.address("/a.png"), "b/b.png": server.address("/b.png")})
    (manifest.parent / "b").write_text("a file where a folder belongs")
    slow = replace(options, pace=replace(options.pace, at_once=1))
    with pytest.raises(OSError, match="b"):
        fetch(manifest, options=slow)
    assert read_table(manifest)["a.png"]["status"] == "fetched"


def test_texts_and_sounds_come_as_what_they_are(server, make_manifest, options):
    server.answers["/a.txt"] = Answer(b"A goldfinch sings from the birch.\n", headers={"Content-Type": "text/plain"})
    manifest = make_manifest({"a.txt": server.address("/a.txt")}, medium=Medium.TEXT)
    assert fetch(manifest, options=options).fetched == 1
