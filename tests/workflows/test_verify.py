"""A receipt passes on what it was made from, and names what was changed since."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fieldmark import Embeddings, Medium, Split, embed, read_manifest, verify
from fieldmark.data.shards import EmbeddingsWriter, read_content_hashes, read_embeddings
from fieldmark.errors import EmbeddingsError, EvaluationError
from fieldmark.evaluation.protocol import Settings
from fieldmark.evaluation.receipt import read_receipt
from fieldmark.evaluation.verification import Cause
from fieldmark.io import encode_report
from fieldmark.workflows.evaluate import measure_folder, write_receipt


@pytest.fixture
def folder(toy_run, toy_embeddings, tmp_path) -> Path:
    """A run, with its embeddings and a receipt of them; to be changed at will."""
    shutil.copytree(toy_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    shutil.copytree(toy_embeddings, tmp_path / "run/test")
    write_receipt(measure_folder(tmp_path / "run", settings=Settings(seed=3)), tmp_path / "run/evaluation.json")
    return tmp_path / "run"


def rewrite(folder: Path, *, change, content: dict[str, str] | None = None) -> None:
    """Embeds again, as it were, with what `change` makes of the old items and vectors, and other content hashes."""
    embeddings, info = read_embeddings(folder)
    hashes = read_content_hashes(folder) | (content or {})
    for file in folder.iterdir():
        file.unlink()
    writer = EmbeddingsWriter(folder, fingerprint=info.fingerprint)
    writer.add(change(embeddings), content_hash_by_item_id=hashes)
    writer.finish(class_names=info.class_names, straddling_groups=info.straddling_groups, facts=info.facts)


def edit(path: Path, *keys, value) -> None:
    """Replaces one value in a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    assert inner[keys[-1]] != value
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


def pick(embeddings: Embeddings, rows: list[int]) -> Embeddings:
    """Some rows, in an order of their own."""
    arrays = ("start_seconds", "end_seconds", "embedding", "logits")
    changed = {name: getattr(embeddings, name)[rows] for name in arrays}
    return replace(embeddings, items=tuple(embeddings.items[row] for row in rows), **changed)


def causes(report) -> set[Cause]:
    return {difference.cause for difference in report.differences}


def test_verify_passes_on_its_own_receipt(folder):
    report = verify(folder / "evaluation.json")
    assert report.is_verified
    item_count = len({item.item_id for item in read_embeddings(folder / "test")[0].items})
    assert (report.item_count, report.differences) == (item_count, ())
    assert report.number_count > 200
    assert report.to_text().startswith(f"verified: {item_count} items are unchanged")
    assert json.loads(json.dumps(encode_report(report)))["verified"] is True


@pytest.fixture
def whole(toy_manifest, toy_run, toy_runtime, tmp_path) -> Path:
    """A run, its embeddings, its media and manifest, and a receipt, all in one folder and to be tampered with."""
    shutil.copytree(toy_manifest.parent, tmp_path / "birds")
    shutil.copytree(toy_run, tmp_path / "run", ignore=shutil.ignore_patterns("metrics*"))
    embed(tmp_path / "birds/manifest.csv", checkpoint=tmp_path / "run", out=tmp_path / "test", runtime=toy_runtime)
    write_receipt(measure_folder(tmp_path / "test", settings=Settings()), tmp_path / "receipt.json")
    return tmp_path


def test_verify_says_what_it_looked_at(whole):
    report = verify(whole / "receipt.json")
    assert report.is_verified
    assert report.file_count > 0
    assert report.unseen == ("the model: the embeddings were taken as they are, and not computed again",)
    shutil.move(whole / "birds", whole / "elsewhere")
    report = verify(whole / "receipt.json")
    assert (report.is_verified, report.file_count) == (True, 0)
    assert "0 of their files on disk" in report.to_text()
    assert "not looked at: the media: none of the" in report.to_text()
    assert "not looked at: the manifest" in report.to_text()


def find_file(folder: Path, medium: Medium) -> Path:
    items = read_manifest(folder / "birds/manifest.csv")
    return next(item.path for item in items if (item.split, item.medium) == (Split.TEST, medium) and item.path)


def replace_in(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def remove(files) -> None:
    for file in files:
        file.unlink()


TAMPERED = {
    "a photo overwritten": (
        lambda f: find_file(f, Medium.IMAGE).write_bytes(bytes(range(256)) * 9),
        {Cause.MEDIA},
        "content of image",
    ),
    "all sounds deleted": (
        lambda f: remove(each for each in (f / "birds/audio").rglob("*.*")),
        {Cause.MEDIA},
        "'gone' now",
    ),
    "a text edited": (lambda f: find_file(f, Medium.TEXT).write_text("Nothing."), {Cause.MEDIA}, "content of text"),
    "splits of the manifest exchanged": (
        lambda f: replace_in(f / "birds/manifest.csv", ",test,", ",train,"),
        {Cause.MANIFEST},
        "split of image",
    ),
    "splits of training rows changed": (
        lambda f: replace_in(f / "birds/manifest.csv", ",train,", ",validation,"),
        {Cause.MANIFEST},
        "sha256 of",
    ),
    "a number of the receipt": (
        lambda f: edit(f / "receipt.json", "results", "map", "image_to_text", value=0.99),
        {Cause.RECEIPT, Cause.NUMBER},
        "map.image_to_text: 0.99 in the receipt",
    ),
    "the seed of the receipt": (
        lambda f: edit(f / "receipt.json", "seed", value=7),
        {Cause.RECEIPT, Cause.NUMBER},
        "interval_95_this_gallery",
    ),
    "the leaks of the embeddings": (
        lambda f: edit(f / "test/embeddings.json", "straddling_groups", value=["a page"]),
        {Cause.ITEM},
        "items_sha256",
    ),
    "the configuration of the embeddings": (
        lambda f: edit(f / "test/embeddings.json", "facts", "config", "train", "lr", value=0.7),
        {Cause.CONFIG},
        "train.lr",
    ),
    "a vector": (
        lambda f: rewrite(f / "test", change=turn_a_vector),
        {Cause.EMBEDDING, Cause.NUMBER},
        "embedding of ",
    ),
    "a class": (lambda f: rewrite(f / "test", change=rename_a_class), {Cause.LABEL}, "Robin"),
}


def turn_a_vector(embeddings):
    embeddings.embedding[0] *= -1
    return embeddings


def rename_a_class(embeddings):
    first = embeddings.items[0]
    items = tuple(replace(i, class_name="Robin") if i.item_id == first.item_id else i for i in embeddings.items)
    return replace(embeddings, items=items)


@pytest.mark.parametrize("name", TAMPERED)
def test_verify_names_what_was_tampered_with(name, whole):
    tamper, expected, words = TAMPERED[name]
    tamper(whole)
    report = verify(whole / "receipt.json")
    assert not report.is_verified
    assert expected <= causes(report)
    assert words in report.to_text()


def test_verify_passes_on_embeddings_that_were_written_in_another_order(folder):
    def turn(embeddings):
        item_ids = [item.item_id for item in embeddings.items]
        order = sorted(range(len(item_ids)), key=lambda row: (item_ids[row][::-1], row))
        assert order != list(range(len(item_ids)))
        return pick(embeddings, order)

    rewrite(folder / "test", change=turn)
    assert verify(folder / "evaluation.json").differences == ()


def test_verify_names_an_embedding_that_was_changed(folder):
    def nudge(embeddings):
        embeddings.embedding[0, 0] += 0.5
        return embeddings

    name = read_embeddings(folder / "test")[0].items[0].item_id
    rewrite(folder / "test", change=nudge)
    report = verify(folder / "evaluation.json")
    assert not report.is_verified
    [embedding] = [d for d in report.differences if d.cause is Cause.EMBEDDING]
    assert embedding.name.endswith(name)
    assert f"{name}: " in report.to_text()
    assert Cause.LABEL not in causes(report)


def test_verify_names_a_label_that_was_changed(folder):
    def relabel(embeddings):
        first = embeddings.items[0]
        other = next(item.class_name for item in embeddings.items if item.class_name != first.class_name)
        items = tuple(replace(i, class_name=other) if i.item_id == first.item_id else i for i in embeddings.items)
        return replace(embeddings, items=items)

    before = read_embeddings(folder / "test")[0].items[0]
    rewrite(folder / "test", change=relabel)
    report = verify(folder / "evaluation.json")
    [label] = [d for d in report.differences if d.cause is Cause.LABEL]
    assert before.item_id in label.name
    assert label.expected == before.class_name
    assert label.found != before.class_name
    assert Cause.EMBEDDING not in causes(report)
    assert Cause.NUMBER in causes(report)


def test_verify_names_an_item_whose_content_or_group_was_changed(folder):
    first, *_, last = read_embeddings(folder / "test")[0].items

    def regroup(embeddings):
        items = tuple(replace(i, group="another") if i.item_id == last.item_id else i for i in embeddings.items)
        return replace(embeddings, items=items)

    rewrite(folder / "test", change=regroup, content={first.item_id: "0" * 64})
    found = {d.name for d in verify(folder / "evaluation.json").differences if d.cause is Cause.ITEM}
    assert found == {
        f"content of {first.medium} {first.item_id}",
        f"split or group of {last.medium} {last.item_id}",
    }


def test_verify_names_an_item_that_is_gone(folder):
    def drop(embeddings):
        keep = [row for row, item in enumerate(embeddings.items) if item.item_id != embeddings.items[0].item_id]
        return pick(embeddings, keep)

    name = read_embeddings(folder / "test")[0].items[0].item_id
    rewrite(folder / "test", change=drop)
    gone = [d for d in verify(folder / "evaluation.json").differences if d.cause is Cause.ITEM]
    assert [(d.found, d.name.endswith(name)) for d in gone] == [("gone", True)]


@pytest.mark.parametrize("changed", ["receipt", "embeddings", "run"])
def test_verify_names_a_config_key_that_was_changed(changed, folder):
    if changed == "receipt":
        edit(folder / "evaluation.json", "config", "train", "lr", value=0.7)
    elif changed == "embeddings":
        edit(folder / "test/embeddings.json", "facts", "config", "train", "lr", value=0.7)
    else:
        edit(folder / "test/embeddings.json", "facts", "checkpoint", value=str(folder))
        write_receipt(measure_folder(folder, settings=Settings(seed=3)), folder / "evaluation.json")
        assert verify(folder / "evaluation.json").is_verified
        config = folder / "config.toml"
        changed, count = re.subn(r"(?m)^lr = .*", "lr = 0.7", config.read_text())
        assert count == 1
        config.write_text(changed)
    report = verify(folder / "evaluation.json")
    [key] = [d for d in report.differences if d.cause is Cause.CONFIG]
    assert key.name.startswith("train.lr")
    assert 0.7 in (key.expected, key.found)
    assert "train.lr" in report.to_text()
    assert (Cause.RECEIPT in causes(report)) == (changed == "receipt")


def test_verify_names_a_number_that_was_changed(folder):
    edit(folder / "evaluation.json", "results", "map", "image_to_text", value=0.99)
    report = verify(folder / "evaluation.json")
    assert causes(report) == {Cause.RECEIPT, Cause.NUMBER}
    assert "map.image_to_text: 0.99 in the receipt" in report.to_text()


def test_verify_shows_how_a_small_difference_differs(folder):
    value = json.loads((folder / "evaluation.json").read_text())["results"]["map"]["image_to_text"]
    edit(folder / "evaluation.json", "results", "map", "image_to_text", value=value + 1e-8)
    [line] = [line for line in verify(folder / "evaluation.json").to_text().splitlines() if "map.image_to_text" in line]
    old, new = re.findall(r"\d\.\d+", line)
    assert float(old) - float(new) == pytest.approx(1e-8, rel=0.1)


def test_verify_does_not_take_nan_for_a_number(folder):
    edit(folder / "evaluation.json", "results", "map", "image_to_text", value=float("nan"))
    assert causes(verify(folder / "evaluation.json")) == {Cause.RECEIPT, Cause.NUMBER}


def test_verify_notes_numbers_that_an_older_evaluation_did_not_measure(folder):
    path = folder / "evaluation.json"
    content = json.loads(path.read_text())
    del content["results"]["hit_rate"]
    path.write_text(json.dumps(content))
    unsigned = read_receipt(path)
    edit(path, "receipt_sha256", value=unsigned.compute_hash())
    report = verify(path)
    assert report.is_verified
    assert any("are not in the receipt" in note for note in report.notes)


def test_verify_of_another_seed_finds_other_intervals(folder):
    edit(folder / "evaluation.json", "seed", value=4)
    report = verify(folder / "evaluation.json")
    assert Cause.RECEIPT in causes(report)
    assert any(d.name.startswith("interval_95") for d in report.differences)


def test_verify_finds_embeddings_that_were_moved(folder):
    shutil.move(folder / "test", folder.parent / "elsewhere")
    with pytest.raises(EmbeddingsError, match="--embeddings"):
        verify(folder / "evaluation.json")
    assert verify(folder / "evaluation.json", embeddings=folder.parent / "elsewhere").is_verified


def test_verify_of_embeddings_that_cannot_be_measured_any_more(folder):
    def spoil(embeddings):
        embeddings.embedding[0] = 0.0
        return embeddings

    name = read_embeddings(folder / "test")[0].items[0].item_id
    rewrite(folder / "test", change=spoil)
    report = verify(folder / "evaluation.json")
    assert causes(report) == {Cause.EMBEDDING}
    assert name in report.to_text()


def test_verify_says_when_the_evaluation_code_is_another(folder):
    edit(folder / "evaluation.json", "evaluator_sha256", value="0" * 64)
    assert any("evaluation code" in note for note in verify(folder / "evaluation.json").notes)


def test_verify_refuses_a_receipt_of_another_version(folder):
    edit(folder / "evaluation.json", "receipt_version", value=7)
    with pytest.raises(EvaluationError, match=r"version 7, made by fieldmark .*; this one reads version 1"):
        verify(folder / "evaluation.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"receipt_version": 1, "seed": "x"}'])
def test_verify_refuses_what_is_no_receipt(content, tmp_path):
    (tmp_path / "receipt.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"fieldmark evaluate --receipt"):
        verify(tmp_path / "receipt.json")


@pytest.mark.parametrize("fault", ["key", "digest"])
def test_verify_refuses_a_receipt_of_another_form(fault, folder):
    path = folder / "evaluation.json"
    content = json.loads(path.read_text())
    by_class = next(iter(content["items"].values()))
    items = next(iter(by_class.values()))
    name = next(iter(items))
    items[name] = "abc" if fault == "digest" else items[name]
    path.write_text(json.dumps(content | ({"remark": "fine"} if fault == "key" else {})))
    with pytest.raises(EvaluationError, match="remark" if fault == "key" else re.escape(name)):
        verify(path)


def test_verify_of_a_run_tells_a_training_receipt_apart(folder):
    with pytest.raises(EvaluationError, match="not a receipt of an evaluation"):
        verify(folder / "receipt.json")
