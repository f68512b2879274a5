"""The example of a collection of other things than birds: its words are for classes, sounds and items."""

import json
from pathlib import Path

import numpy as np
import own_things
import pytest
import soundfile
from PIL import Image

from fieldmark import Gallery, Medium, Split
from fieldmark.gallery.naming.gallery_names import read_gallery_names
from fieldmark.subject import Subject, get_words

COLORS = {"tin_robot": (200, 60, 40), "steam_train": (40, 60, 190), "rag_doll": (60, 170, 60)}
NAMES = ("big", "old", "small")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three toys of each kind, with a picture, a sound and a name in two languages each."""
    folder, generator = tmp_path_factory.mktemp("toys"), np.random.default_rng(0)
    for number, (kind, color) in enumerate(COLORS.items()):
        (folder / kind).mkdir()
        for name in NAMES:
            pixels = np.clip(np.array(color) + generator.integers(-20, 21, size=(24, 24, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{name}.png")
            tone = np.sin(np.arange(8_000) * (0.05 + 0.1 * number)).astype(np.float32)
            soundfile.write(folder / kind / f"{name}.wav", tone, 16_000)
            text = f"A {name} {kind.replace('_', ' ')}.\nde.utf8=Ein Spielzeug."
            (folder / kind / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_every_folder_is_a_class_and_a_thing_stays_in_one_split(things):
    items = list(own_things.collect(things))
    assert len(items) == 27
    assert {item.class_name for item in items} == set(COLORS)
    assert {item.medium for item in items} == {Medium.IMAGE, Medium.TEXT, Medium.AUDIO}
    assert len({(item.group, item.split) for item in items}) == 9
    assert {item.text for item in items if item.text} >= {"A big tin robot."}
    assert sum(item.split is Split.TEST for item in items) == 9


def test_the_answers_speak_of_classes_and_not_of_species(things, tmp_path, toy_config, toy_runtime):
    folder = own_things.build(things, out=tmp_path / "out", config=toy_config, runtime=toy_runtime)
    assert read_gallery_names(folder).subject is Subject.THINGS
    gallery = Gallery.open(folder, runtime=toy_runtime)
    named = gallery.search("robot", k=9)
    assert [each.class_name for each in named.names] == ["tin_robot"]
    assert {hit.class_name for hit in named.hits if hit.probability == 1} == {"tin_robot"}
    text = gallery.search(things / "steam_train" / "old.png", k=9).to_text()
    assert "species" not in text + named.to_text()
    assert gallery.read_names().subject is Subject.THINGS
    assert get_words(Subject.THINGS).many == "classes"
    assert json.loads((folder / "names.json").read_text(encoding="utf-8"))["subject"] == "things"
