"""Two servers of one gallery in Milvus: both show what a third process indexes, and one goes on when the other dies."""

import os
import re
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from fieldmark import index
from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.types import Split

pytestmark = pytest.mark.slow

RUN = "from fieldmark.cli.app import main; main()"
ANSWERED = (200, "")
SEEN_SECONDS = 6.0
"""Within so many seconds of the end of a write other processes show it: one until they look, five of Milvus's bound."""


@contextmanager
def serve(address, environment):
    """A server process on a free port; gives its URL and its process."""
    command = [sys.executable, "-c", RUN, "serve", "--gallery", address, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            line = process.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + process.stderr.read()
            yield found[0].rstrip("/"), process
        finally:
            process.kill()
            sys.stdout.write(process.stderr.read())


class Client:
    """Asks one server again and again; keeps each answer's status and failure, and the item count."""

    def __init__(self, url):
        self.url = url
        self.answers, self.seen = [], []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()

    def _ask(self):
        with httpx.Client(timeout=60) as client:
            while not self._ended.is_set():
                try:
                    answer = client.post(f"{self.url}/v1/search", json={"queries": [{"text": "a red cap"}], "k": 5})
                    count = client.get(f"{self.url}/v1/gallery").json()["item_count"]
                except httpx.TransportError:
                    self.answers.append((0, ""))
                    return
                self.answers.append((answer.status_code, "" if answer.status_code == 200 else answer.text))
                self.seen.append((time.monotonic(), count))

    def find_first(self, count):
        return next((at for at, seen in self.seen if seen == count), None)


def test_two_servers_show_what_a_third_process_indexes_and_one_outlives_the_other(
    milvus_server, toy_manifest, toy_run, toy_runtime, tmp_path
):
    address = f"{milvus_server}/servers_{uuid.uuid4().hex[:8]}"
    items = read_manifest(toy_manifest)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    write_manifest([item for item in items if item.split is not Split.TEST], first)
    write_manifest([item for item in items if item.split is Split.TEST], second)
    made = index(first, checkpoint=toy_run, gallery=address, runtime=toy_runtime)
    total = len(items)
    environment = {
        **os.environ,
        "FIELDMARK_DEVICE": "cpu",
        "FIELDMARK_CACHE": str(tmp_path / "cache"),
        "COLUMNS": "500",
    }
    with ExitStack() as stack:
        (one, doomed), (two, _) = (stack.enter_context(serve(address, environment)) for _ in range(2))
        with Client(one) as ending, Client(two) as going_on:
            command = [sys.executable, "-c", RUN, "index", str(second), "--gallery", address]
            subprocess.run(command, check=True, env=environment, capture_output=True, timeout=500)  # noqa: S603
            written = time.monotonic()
            while time.monotonic() < written + 60 and None in (ending.find_first(total), going_on.find_first(total)):
                time.sleep(0.05)
            for client in (ending, going_on):
                seen = client.find_first(total)
                assert seen is not None
                sys.stdout.write(f"seen {seen - written:+.2f} s after the end of the run\n")
                assert seen - written < SEEN_SECONDS
            assert {*ending.answers, *going_on.answers} == {ANSWERED}
            asked = len(going_on.answers)
            doomed.kill()
            while len(going_on.answers) < asked + 20:
                time.sleep(0.05)
        assert ending.answers[-1][0] == 0
        assert set(going_on.answers) == {ANSWERED}
        sys.stdout.write(f"{len(going_on.answers)} searches of the other, all answered\n")
    assert made.added_count < total
