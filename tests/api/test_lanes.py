"""Searches with long files wait in a lane of their own and tell their progress; texts that wait go together."""

import io
import json
import threading
import time

import numpy as np
import pytest
import soundfile

from fieldmark import Gallery, Item, Medium
from fieldmark.query_encoder import Turns

SEARCH = {"queries": [{"text": "a red cap and a trill"}], "k": 3}
SOUND = ("song.wav", "audio/wav")


@pytest.fixture(scope="module")
def long_song():
    """A minute of noise, nine segments or more."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 60 * 8_000)
    soundfile.write(file, noise, 8_000, format="WAV")
    return file.getvalue()


class Slow:
    """A gallery whose long files take until a gate opens."""

    def __init__(self, client):
        self.gallery = client.app.state.service.gallery
        self.gate, self.begun = threading.Event(), threading.Event()
        self._encode = self.gallery.encode
        self.gallery.encode = self.encode

    def encode(self, query, *, reporter):
        self.begun.set()
        assert self.gate.wait(20)
        self._encode(query, reporter=reporter)


def test_a_long_search_holds_up_no_short_one(serve, long_song, upload_folder):
    client = serve(long_query_seconds=30)
    slow, answers = Slow(client), []
    asked = threading.Thread(
        target=lambda: answers.append(client.post("/v1/search", files=[("file", ("song.wav", long_song))]))
    )
    asked.start()
    assert slow.begun.wait(20)
    short = [client.post("/v1/search", json=SEARCH).status_code for _ in range(3)]
    assert (short, answers) == ([200] * 3, [])
    slow.gate.set()
    asked.join(30)
    assert [each.status_code for each in answers] == [200]


def read_events(answer):
    blocks = [block for block in answer.text.split("\n\n") if block]
    pairs = [[line.partition(": ")[2] for line in block.split("\n")] for block in blocks]
    return [(name, json.loads(data)) for name, data in pairs]


def test_a_long_search_tells_its_progress(serve, long_song, upload_folder):
    client = serve(long_query_seconds=30)
    files = [("file", ("song.wav", long_song))]
    answer = client.post("/v1/search", files=files, headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *progress, (name, found) = read_events(answer)
    assert name == "answer"
    assert {each for each, _ in progress} == {"progress"}
    assert progress[-1][1]["total"] == 60
    plain = client.post("/v1/search", files=files).json()
    assert [hit["item_id"] for hit in found["hits"]] == [hit["item_id"] for hit in plain["hits"]]
    assert client.app.state.service.uploads.in_use == 0


def test_an_error_of_a_stream_is_an_event(serve, long_song, upload_folder):
    client = serve(long_query_seconds=30, max_query_seconds=40)
    files = [("file", ("song.wav", long_song))]
    answer = client.post("/v1/search", files=files, headers={"accept": "text/event-stream"})
    [(name, error)] = [event for event in read_events(answer) if event[0] != "progress"]
    assert (name, error["kind"]) == ("error", "too_long")


def test_turns_come_in_order():
    turns, order = Turns(), []
    with turns:
        threads = []
        for number in range(5):

            def work(number=number):
                with turns:
                    order.append(number)

            threads.append(threading.Thread(target=work))
            threads[-1].start()
            time.sleep(0.02)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == list(range(5))


def test_texts_that_wait_are_encoded_together_and_each_gets_its_own(toy_gallery, toy_runtime):
    gallery = Gallery.open(toy_gallery, runtime=toy_runtime)
    encoder = gallery._encoder
    texts = [f"a bird with {number} spots" for number in range(12)] + [" "]
    items = [Item("query", Medium.TEXT, text=text) for text in texts]
    found: dict[int, object] = {}

    def ask(number):
        try:
            found[number] = encoder.embed(items[number])
        except ValueError as error:
            found[number] = error

    with encoder._turns:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(items))]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join(20)
    assert isinstance(found.pop(12), ValueError)  # the empty one, and no other
    for number, rows in found.items():
        assert rows == pytest.approx(encoder.embed(items[number]), abs=1e-5)
