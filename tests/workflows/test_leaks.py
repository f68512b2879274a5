"""Leaks in every form, from the manifest to the evaluation: each is found by the check, dropped, counted and named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from fieldmark import Item, Medium, Split, check, embed, evaluate, read_manifest, write_manifest
from fieldmark.datasets.check import write_clean
from fieldmark.datasets.split import split_manifest
from fieldmark.errors import ManifestError
from fieldmark.io import encode_report
from fieldmark.leakage import find_leaks_of_items, link_contents, read_findings
from fieldmark.media.loaders import read_text
from fieldmark.origin import LinkKind


class Planter:
    """Plants leaks beside training items, each beside one of its own, and remembers them."""

    def __init__(self, items, folder: Path) -> None:
        self.items = list(items)
        self.kinds = {}
        self.learned = {}
        self._folder = folder

    def take(self, medium: Medium, *, is_grouped: bool = True) -> Item:
        """A training item that no leak is beside yet; what else is of its group goes."""
        used = set(self.learned.values())
        item = next(i for i in self.items if (i.medium, i.split) == (medium, Split.TRAIN) and i.item_id not in used)
        kept = item if is_grouped else replace(item, group=None, start_seconds=None, end_seconds=None)
        self.items = [
            kept if i.item_id == item.item_id else i for i in self.items if i.group != item.group or i is item
        ]
        return kept

    def plant(self, name: str, kind: LinkKind, learned: Item, **facts) -> Item:
        """An item to be tested that is the learned one but for the given facts."""
        item = replace(learned, **{"item_id": name, "split": Split.TEST, "group": None, **facts})
        self.items.append(item)
        self.kinds[name], self.learned[name] = kind, learned.item_id
        return item

    def narrow(self, item: Item, **facts) -> Item:
        """Change a learned item itself."""
        self.items = [replace(i, **facts) if i.item_id == item.item_id else i for i in self.items]
        return replace(item, **facts)

    def copy(self, item: Item) -> Path:
        return Path(shutil.copy(item.path, self._folder / f"{len(self.items)}{item.path.suffix}"))

    def retouch(self, item: Item) -> Path:
        path = self._folder / f"retouched-{len(self.items)}.jpg"
        image = ImageOps.mirror(Image.open(item.path))
        image.crop((7, 7, image.width - 7, image.height - 7)).save(path, quality=85)
        return path


def plant_all(items, folder: Path) -> Planter:
    """Every kind of leak once, and some through chains."""
    plant = Planter(items, folder)
    image, text, video, audio = Medium
    said = {"path": None, "text": "It sings of what no other page tells of."}
    page = plant.take(text)
    plant.plant("one group", LinkKind.GROUP, page, group=page.group, **said)
    tape = plant.narrow(plant.take(audio, is_grouped=False), end_seconds=1.0)
    plant.plant("rest of a file", LinkKind.FILE, tape, start_seconds=1.0, end_seconds=None)
    tape = plant.narrow(plant.take(audio, is_grouped=False), end_seconds=1.0)
    plant.plant(
        "rest of a copy", LinkKind.SAME_CONTENT, tape, path=plant.copy(tape), start_seconds=1.0, end_seconds=None
    )
    tape = plant.narrow(plant.take(audio), start_seconds=0.0, end_seconds=1.2)
    plant.plant("overlap", LinkKind.SAME_CONTENT, tape, group="a part", start_seconds=0.8, end_seconds=2.0)
    clip = plant.take(video, is_grouped=False)
    plant.plant("film of a copy", LinkKind.SAME_CONTENT, clip, path=plant.copy(clip))
    photo = plant.take(image)
    copy = plant.plant("copy", LinkKind.SAME_CONTENT, photo, path=plant.copy(photo), group="a photo of its own")
    plant.plant(
        "caption of a copy", LinkKind.CAPTION, photo, medium=text, path=None, text="Red.", caption_of=copy.item_id
    )
    photo = plant.take(image)
    plant.plant("caption", LinkKind.CAPTION, photo, medium=text, path=None, text="Blue!", caption_of=photo.item_id)
    page = plant.take(text)
    plant.plant("excerpt", LinkKind.EXCERPT, page, path=None, text="Green?", extra=(("derived_from", page.item_id),))
    page = plant.take(text)
    loud = read_text(page).upper().replace(" ", "  ").replace(".", " !!")
    plant.plant("same text", LinkKind.SAME_TEXT, page, path=None, text=loud)
    photo = plant.take(image)
    plant.plant("mirrored and cropped", LinkKind.NEAR_DUPLICATE, photo, path=plant.retouch(photo))
    photo = plant.take(image)
    plant.plant(
        "validation", LinkKind.GROUP, photo, group=photo.group, path=plant.retouch(photo), split=Split.VALIDATION
    )
    return plant


@pytest.fixture
def planted(toy_items, tmp_path) -> Planter:
    (tmp_path / "media").mkdir()
    plant = plant_all(toy_items, tmp_path / "media")
    write_manifest(plant.items, tmp_path / "m.csv")
    (tmp_path / "findings.json").write_text(json.dumps(encode_report(check(tmp_path / "m.csv"))))
    return plant


def test_every_planted_leak_is_dropped_counted_and_named(planted, toy_run, toy_runtime, tmp_path):
    embed(
        tmp_path / "m.csv",
        checkpoint=toy_run,
        out=tmp_path / "all",
        split="all",
        findings=tmp_path / "findings.json",
        runtime=toy_runtime,
    )
    tested = evaluate(tmp_path / "all", runtime=toy_runtime)
    validated = evaluate(tmp_path / "all", split=Split.VALIDATION, protocol="paper", runtime=toy_runtime)
    named = {leak.item_id: (leak.kind, leak.learned_id) for leak in tested.leaks}
    expected = {name: (kind, planted.learned[name]) for name, kind in planted.kinds.items() if name != "validation"}
    assert named == expected
    assert len(expected) >= 10
    assert validated.leaks == ()  # the paper's protocol leaves out nothing
    clean = sum(item.split is Split.TEST for item in planted.items) - len(expected)
    assert sum(tested.item_count.values()) == clean
    assert "Left out: 11 that leak from train" in " ".join(tested.to_text().split())
    assert encode_report(tested)["leak_counts"]["same_content"] == 4


def test_every_planted_leak_is_an_error_of_the_check_and_gone_from_a_clean_manifest(planted, tmp_path):
    problems = json.loads((tmp_path / "findings.json").read_text())["problems"]
    named = {name for problem in problems if problem["severity"] == "error" for name in problem["item_ids"]}
    assert planted.kinds.keys() - named == {"caption of a copy"}  # the copy is named
    report = check(tmp_path / "m.csv")
    write_clean(report, tmp_path / "clean.csv")
    items = read_manifest(tmp_path / "clean.csv")
    left = find_leaks_of_items(items, [*link_contents(items), *read_findings(tmp_path / "findings.json").links])
    assert left == ()


def test_a_validation_item_that_leaks_is_left_out_too(planted, toy_run, toy_runtime, tmp_path):
    items = [*planted.items]
    sound = [replace(item, split=Split.VALIDATION) for item in items if item.split is Split.TEST and item.group]
    others = [item for item in items if item.split is not Split.TEST]
    write_manifest([*others, *sound], tmp_path / "v.csv")
    embed(tmp_path / "v.csv", checkpoint=toy_run, out=tmp_path / "v", split="validation", runtime=toy_runtime)
    found = evaluate(tmp_path / "v", runtime=toy_runtime)
    assert {"validation", "one group", "copy", "overlap"} == {leak.item_id for leak in found.leaks}


def test_findings_given_to_evaluate_drop_what_they_name(planted, toy_run, toy_runtime, tmp_path):
    embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "test", runtime=toy_runtime)
    without = {leak.item_id for leak in evaluate(tmp_path / "test", runtime=toy_runtime).leaks}
    found = evaluate(tmp_path / "test", findings=tmp_path / "findings.json", runtime=toy_runtime)
    assert {leak.item_id for leak in found.leaks} - without == {"mirrored and cropped"}


def test_a_split_keeps_together_what_would_leak(planted, tmp_path):
    for seed in range(3):
        out = tmp_path / f"{seed}.csv"
        split_manifest(tmp_path / "m.csv", out=out, seed=seed, findings=tmp_path / "findings.json")
        items = read_manifest(out)
        assert {item.split for item in items} == set(Split)
        assert (
            find_leaks_of_items(items, [*link_contents(items), *read_findings(tmp_path / "findings.json").links]) == ()
        )


@pytest.mark.parametrize("content", ["", "[]", '{"problems": [{"kind": "duplicate", "item_ids": ["a"]}]}', "\xff"])
def test_findings_that_are_none_are_refused(content, tmp_path):
    (tmp_path / "f.json").write_text(content, encoding="latin-1")
    with pytest.raises(ManifestError, match=r"fieldmark data check MANIFEST --json > FILE"):
        read_findings(tmp_path / "f.json")
