"""Indexing while the server answers: progress, end, cancelling, failure; and searches that see what is new."""

import asyncio
import json
import threading
import time
from itertools import pairwise

import pytest

from fieldmark.api.jobs import JobQueue, JobState
from fieldmark.errors import ManifestError


@pytest.fixture
def songs(tmp_path, toy_items):
    """A folder of thirty songs."""
    folder = tmp_path / "songs"
    folder.mkdir()
    paths = [item.path for item in toy_items if item.medium == "audio"]
    for number in range(30):
        content = paths[number % len(paths)].read_bytes()
        (folder / f"new-{number:02}.flac").write_bytes(content)
    return folder


def wait(client, job_id, *, seconds=30.0):
    deadline = time.monotonic() + seconds
    while (job := client.get(f"/v1/jobs/{job_id}").json())["state"] == "running":
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def test_a_job_adds_what_a_later_search_finds(serve, own_gallery, songs):
    client = serve(folder=own_gallery, sources={"songs": songs})
    assert client.get("/v1/gallery").json()["sources"] == ["songs"]
    before = client.get("/v1/gallery").json()["item_count"]
    started = client.post("/v1/jobs", json={"source": "songs"})
    assert started.status_code == 202
    job = wait(client, started.json()["job_id"])
    assert (job["state"], job["done"], job["total"], job["message"]) == ("done", 30, 30, None)
    assert job["result"]["added_count"] == 30
    assert client.get("/v1/gallery").json()["item_count"] == before + 30
    hits = client.post("/v1/search", json={"queries": [{"text": "a trill"}], "media": ["audio"], "k": 100}).json()[
        "hits"
    ]
    assert sum(hit["name"].startswith("new-") for hit in hits) == 30
    assert [each["job_id"] for each in client.get("/v1/jobs").json()["jobs"]] == [job["job_id"]]
    assert str(songs) not in json.dumps(job["result"])
    assert client.get("/v1/gallery").json()["set_counts"]["songs"] == 30
    assert client.get("/v1/gallery").json()["class_count"] == 3  # the songs have none


def test_events_tell_of_each_change_until_the_end(serve, own_gallery, songs):
    client = serve(folder=own_gallery, sources={"songs": songs})
    job_id = client.post("/v1/jobs", json={"source": "songs"}).json()["job_id"]
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    states = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert states[-1]["state"] == "done"
    assert all(first != second for first, second in pairwise(states))
    assert [state["done"] for state in states] == sorted(state["done"] for state in states)


@pytest.fixture
def held(serve, own_gallery, songs, monkeypatch):
    """A server whose job waits at its first step until it is let go."""
    client = serve(folder=own_gallery, sources={"songs": songs})
    queue, gate, reached = client.app.state.service.jobs, threading.Event(), threading.Event()
    change = queue.change

    def held_change(job_id, **values):
        change(job_id, **values)
        if values.get("done") == 1:
            reached.set()
            gate.wait(20)

    monkeypatch.setattr(queue, "change", held_change)
    yield client, gate, reached
    gate.set()


def test_one_job_runs_at_a_time_and_searches_go_on(held):
    client, gate, reached = held
    job_id = client.post("/v1/jobs", json={"source": "songs"}).json()["job_id"]
    assert reached.wait(20)
    second = client.post("/v1/jobs", json={"source": "songs"})
    assert (second.status_code, second.json()["kind"]) == (409, "job_running")
    assert client.post("/v1/search", json={"queries": [{"text": "a trill"}]}).status_code == 200
    assert "fieldmark_job_running 1.0\n" in client.get("/v1/metrics").text
    gate.set()
    assert wait(client, job_id)["state"] == "done"


def test_a_job_can_be_cancelled_and_run_again(held):
    client, gate, reached = held
    job_id = client.post("/v1/jobs", json={"source": "songs"}).json()["job_id"]
    assert reached.wait(20)
    client.delete(f"/v1/jobs/{job_id}")
    gate.set()
    assert wait(client, job_id)["state"] == "cancelled"
    again = client.post("/v1/jobs", json={"source": "songs"}).json()["job_id"]
    assert wait(client, again)["state"] == "done"
    assert client.delete(f"/v1/jobs/{again}").json()["state"] == "done"


def test_a_job_that_fails_says_why(serve, own_gallery, tmp_path):
    (tmp_path / "nothing").mkdir()
    client = serve(folder=own_gallery, sources={"nothing": tmp_path / "nothing"})
    job = wait(client, client.post("/v1/jobs", json={"source": "nothing"}).json()["job_id"])
    assert job["state"] == "failed"
    assert job["message"].startswith("'nothing' holds no")


def test_a_job_names_files_without_the_folders_of_the_server(serve, own_gallery, tmp_path):
    source = tmp_path / "private"
    source.mkdir()
    for number in range(20):
        (source / f"{number}.txt").write_text(f"a red cap and {number} spots")
    (source / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    client = serve(folder=own_gallery, sources={"private": source})
    job = wait(client, client.post("/v1/jobs", json={"source": "private"}).json()["job_id"])
    assert job["state"] == "done"
    assert "'torn.png'" in job["result"]["failures"][0]["message"]
    assert str(tmp_path) not in json.dumps(job)


@pytest.mark.parametrize("source", ["unknown", "../songs", "/etc", "", "x" * 300])
def test_only_sources_that_were_named_are_indexed(client, source):
    answer = client.post("/v1/jobs", json={"source": source})
    assert answer.status_code in {400, 404}
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_job_states_are_those_of_the_api():
    assert [state.value for state in JobState] == ["running", "done", "failed", "cancelled"]


@pytest.fixture
def talking(tmp_path, toy_runtime, monkeypatch):
    """A queue whose jobs say thirty lines and, once the gate is open, fail."""
    gate = threading.Event()

    def say_lines(_, *, gallery, runtime):
        for number in range(30):
            runtime.reporter.say(f"line {number}")
        gate.wait(20)
        raise ManifestError(f"'{gallery.name}' has no rows")

    monkeypatch.setattr("fieldmark.api.jobs.index", say_lines)
    queue = JobQueue(tmp_path / "gallery", sources={"songs": tmp_path}, runtime=toy_runtime)
    yield queue, gate
    gate.set()
    queue.close()


def wait_in(queue, job_id):
    deadline = time.monotonic() + 20
    while (job := queue.get(job_id)).state is JobState.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return job


def test_a_job_has_its_last_lines_and_its_end_only_when_it_has_ended(talking):
    queue, gate = talking
    job_id = queue.start("songs").job_id
    deadline = time.monotonic() + 20
    while "line 29" not in queue.get(job_id).lines:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert queue.get(job_id).lines == tuple(f"line {number}" for number in range(10, 30))
    assert queue.get(job_id).ended_at is None
    gate.set()
    job = wait_in(queue, job_id)
    assert (job.state, job.message) == (JobState.FAILED, "'gallery' has no rows")
    assert job.ended_at >= job.started_at


def test_a_queue_keeps_the_last_fifty_jobs_and_lists_the_newest_first(talking):
    queue, gate = talking
    gate.set()
    job_ids = [wait_in(queue, queue.start("songs").job_id).job_id for _ in range(52)]
    assert [job.job_id for job in queue.list_jobs()] == job_ids[:1:-1]


def test_a_follower_is_told_of_progress_before_the_end(talking):
    queue, gate = talking

    async def ask():
        job_id = queue.start("songs").job_id
        events = queue.follow(job_id)
        async with asyncio.timeout(10):
            assert '"done": 0' in await anext(events)
            queue.change(job_id, task="embed", done=3, total=9)
            while '"done": 3, "total": 9' not in (event := await anext(events)):
                assert '"state": "running"' in event
            gate.set()
            assert '"state": "failed"' in [event async for event in events][-1]

    asyncio.run(ask())
