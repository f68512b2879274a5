"""Run info: what a run's folder tells of it, and that a run goes on with its own items only."""

import json
import re
from dataclasses import replace

import pytest

from fieldmark import Item, Medium, Split
from fieldmark.errors import TrainingError
from fieldmark.training.checkpoint import Provenance
from fieldmark.training.layout import RunLayout
from fieldmark.training.run_info import ImportedFile, RunInfo, check_same_data, describe_data, read_run_info
from fieldmark.training.task import TrainingResult
from fieldmark.types import Failure

PROVENANCE = Provenance(
    config_json='{"seed": 3}',
    class_names=("gull", "wren"),
    seed=3,
    code_version="1",
    encoder_fingerprints={Medium.TEXT: "abc"},
)


MANIFEST = "f" * 64
CONTENTS = {name: name * 64 for name in ("a", "b", "c")}


@pytest.fixture
def items():
    texts = [Item(name, Medium.TEXT, text=name, class_name="gull") for name in ("a", "b", "c")]
    return {Split.TRAIN: texts[:2], Split.VALIDATION: texts[2:]}


@pytest.fixture
def data(items, tmp_path):
    (tmp_path / "manifest.csv").write_text("x")
    return describe_data(items, manifest_sha256=MANIFEST, contents=CONTENTS)


def test_describe_data_counts_and_ignores_the_order_of_items(data, items, tmp_path):
    assert data.counts == {"train": {"text": 2}, "validation": {"text": 1}}
    turned = {split: list(reversed(own)) for split, own in items.items()}
    assert describe_data(turned, manifest_sha256=MANIFEST, contents=CONTENTS) == data
    moved = {Split.TRAIN: [*items[Split.TRAIN], *items[Split.VALIDATION]], Split.VALIDATION: []}
    assert describe_data(moved, manifest_sha256=MANIFEST, contents=CONTENTS).items_sha256 != data.items_sha256


def test_run_info_is_read_as_it_was_written(data, tmp_path):
    result = TrainingResult(tmp_path / "best", best_epoch=2, best_score=0.5, epochs=3, steps=30, seconds=1.26)
    failures = (Failure("lost", "missing_file", "It is gone."),)
    RunInfo(PROVENANCE, data, failures=failures, result=result).write(tmp_path)
    found = read_run_info(tmp_path)
    assert found["config"] == {"seed": 3}
    assert found["class_count"] == 2
    assert found["encoders"] == {"text": "abc"}
    assert found["failures"] == [{"item_id": "lost", "kind": "missing_file", "message": "It is gone."}]
    assert found["result"] == {"best_epoch": 2, "validation_map": 0.5, "epochs": 3, "steps": 30, "seconds": 1.3}


def test_run_info_of_imported_weights_names_their_file(tmp_path):
    RunInfo(PROVENANCE, ImportedFile("net.pth", "f00", 12)).write(tmp_path)
    found = json.loads((tmp_path / "receipt.json").read_text())
    assert found["imported"] == {"file": "net.pth", "sha256": "f00", "bytes": 12}
    assert found["result"] is None


def test_check_same_data_refuses_other_items(data, items, tmp_path):
    check_same_data(tmp_path, data)  # a run that is not begun has nothing to differ from
    RunInfo(PROVENANCE, data).write(tmp_path)
    check_same_data(tmp_path, data)
    fewer = describe_data({**items, Split.TRAIN: items[Split.TRAIN][:1]}, manifest_sha256=MANIFEST, contents=CONTENTS)
    with pytest.raises(TrainingError, match="items"):
        check_same_data(tmp_path, fewer)


def change(items, name, **facts):
    return {
        split: [replace(item, **facts) if item.item_id == name else item for item in own]
        for split, own in items.items()
    }


@pytest.mark.parametrize(
    ("facts", "contents", "told"),
    [
        ({}, {"a": "f" * 64}, "1 item has another content (a)"),
        ({}, dict.fromkeys("abc", "f" * 64), "3 items have another content (a, b, c)"),
        ({"class_name": "wren"}, {}, "1 item has another class (a)"),
        ({"group": "tape", "caption_of": "b"}, {}, "1 item has another origin (group, file or caption) (b)"),
        ({"item_id": "d"}, {"d": "a" * 64}, "1 item is new (d); 1 item is gone or unreadable (a)"),
    ],
)
def test_check_same_data_tells_what_changed(facts, contents, told, data, items, tmp_path):
    RunInfo(PROVENANCE, data).write(tmp_path)
    other = describe_data(change(items, "a", **facts), manifest_sha256=MANIFEST, contents=CONTENTS | contents)
    with pytest.raises(TrainingError, match=re.escape(told)) as caught:
        check_same_data(tmp_path, other)
    assert "start a new run with another --out" in str(caught.value)
    RunLayout(tmp_path).items.unlink()
    with pytest.raises(TrainingError, match=r"other content in them\. Resume with"):
        check_same_data(tmp_path, other)


def test_check_same_data_takes_form_for_content(data, items, tmp_path):
    RunInfo(PROVENANCE, data).write(tmp_path)
    sound = {"medium": Medium.AUDIO, "text": None, "path": tmp_path / "a.png"}
    one, two = (
        describe_data(change(items, "a", **sound, extra=extra), manifest_sha256=MANIFEST, contents=CONTENTS)
        for extra in ((), (("form", "spectrogram"),))
    )
    assert (one.items_sha256, one.contents_sha256) != (two.items_sha256, two.contents_sha256)


def test_check_same_data_lets_a_run_of_an_earlier_version_go_on_and_says_so(data, items, tmp_path):
    RunInfo(PROVENANCE, data).write(tmp_path)
    assert check_same_data(tmp_path, data) is None
    info = json.loads(RunLayout(tmp_path).run_info.read_text())
    del info["contents_sha256"]
    RunLayout(tmp_path).run_info.write_text(json.dumps(info))
    RunLayout(tmp_path).items.unlink()
    other = describe_data(items, manifest_sha256=MANIFEST, contents={"a": "f" * 64})
    assert "kept no hashes of contents" in check_same_data(tmp_path, other)


def test_read_run_info_of_no_run_is_empty(tmp_path):
    assert read_run_info(tmp_path) == {}
