"""Two runs on the same items: what is measured, and when a difference counts as found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldmark import Embeddings, Item, Medium, Split, compare, embed, evaluate, read_manifest, write_manifest
from fieldmark.data.shards import EmbeddingsWriter, read_content_hashes, read_embeddings
from fieldmark.errors import EvaluationError
from fieldmark.io import encode_report


def write(folder: Path, *, spread: float, seed: int = 0, clips: int = 1, item_count: int = 60) -> Path:
    """Images and sounds of three classes around their class's center; sounds in groups of so many clips."""
    generator = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(3, 6))
    items = [
        Item(
            f"{medium}-{number}",
            medium,
            class_name=f"bird {number % 3}",
            split=Split.TEST,
            group=f"tape {number % 3} {number // (3 * clips)}" if medium is Medium.AUDIO else None,
        )
        for medium in (Medium.IMAGE, Medium.AUDIO)
        for number in range(item_count)
    ]
    label = [int(item.class_name[-1]) for item in items]
    noise = {}
    rows = []
    for item, each in zip(items, label, strict=True):
        key = item.group or item.item_id
        noise.setdefault(key, generator.normal(size=6))
        rows.append(centers[each] + spread * noise[key])
    no_time = np.full(len(items), np.nan)
    rows = np.array(rows, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    writer = EmbeddingsWriter(folder, fingerprint=f"model {spread} {seed}")
    hashes = {item.item_id: item.item_id for item in items}
    writer.add(Embeddings(tuple(items), no_time, no_time, rows), content_hash_by_item_id=hashes)
    writer.finish()
    return folder


def test_compare_finds_the_better_run(tmp_path):
    one, other = write(tmp_path / "one", spread=1.5), write(tmp_path / "other", spread=0.5)
    report = compare(one, other)
    maps = [encode_report(evaluate(folder))["map"] for folder in (one, other)]
    assert [each.name for each in report.directions] == list(maps[0])
    for each in report.directions:
        assert (each.first, each.second) == (maps[0][each.name], maps[1][each.name])
        assert each.difference == pytest.approx(each.second - each.first, abs=1e-12)
        assert each.interval_95[0] < each.difference < each.interval_95[1]
        assert each.is_found
    assert "B better" in report.to_text()
    assert max(len(line) for line in report.to_text().splitlines()) <= 100
    result = json.loads(json.dumps(encode_report(report)))
    assert result["averages"]["bi_modality"]["difference"] > 0


def test_compare_turned_round_changes_the_sign_alone(tmp_path):
    one, other = write(tmp_path / "one", spread=1.5), write(tmp_path / "other", spread=1.4, seed=1)
    there, back = compare(one, other), compare(other, one)
    for mine, yours in zip(there.directions, back.directions, strict=True):
        assert mine.difference == pytest.approx(-yours.difference)
        assert mine.p_value == pytest.approx(yours.p_value)


def test_compare_of_a_run_with_itself_finds_nothing(tmp_path):
    one = write(tmp_path / "one", spread=1.0)
    report = compare(one, one)
    assert {each.difference for each in (*report.directions, *report.averages)} == {0.0}
    assert {each.p_value for each in report.directions} == {1.0}
    assert not any(verdict in report.to_text() for verdict in ("A better", "B better"))


def test_compare_seldom_finds_a_difference_between_equals(tmp_path):
    # Twelve pairs of equally good runs, four directions each: at the level 0.05, one false finding in 20 pairs.
    folders = [write(tmp_path / str(seed), spread=1.2, seed=seed, clips=4, item_count=24) for seed in range(13)]
    found = [any(d.is_found for d in compare(folders[0], other).directions) for other in folders[1:]]
    assert sum(found) <= 4


def test_compare_counts_the_clips_of_a_group_as_one(tmp_path):
    apart = compare(write(tmp_path / "a", spread=1.3), write(tmp_path / "b", spread=1.1, seed=1))
    together = compare(write(tmp_path / "c", spread=1.3, clips=10), write(tmp_path / "d", spread=1.1, seed=1, clips=10))
    assert (apart.group_count, together.group_count) == (120, 66)
    widths = [
        np.diff(next(d for d in report.directions if d.name == "audio_to_image").interval_95)[0]
        for report in (apart, together)
    ]
    assert widths[1] > 1.5 * widths[0]


def test_compare_does_not_depend_on_the_order_of_items(tmp_path, toy_embeddings):
    embeddings, info = read_embeddings(toy_embeddings)
    order = sorted(range(len(embeddings.items)), key=lambda row: (embeddings.items[row].item_id[::-1], row))
    arrays = {n: getattr(embeddings, n)[order] for n in ("start_seconds", "end_seconds", "embedding", "logits")}
    turned = replace(embeddings, items=tuple(embeddings.items[row] for row in order), **arrays)
    writer = EmbeddingsWriter(tmp_path / "turned", fingerprint=info.fingerprint)
    writer.add(turned, content_hash_by_item_id=read_content_hashes(toy_embeddings))
    writer.finish(class_names=info.class_names)
    report = compare(toy_embeddings, tmp_path / "turned")
    assert len(report.directions) == 16
    assert all(abs(each.difference) < 1e-12 for each in report.directions)


def test_compare_takes_run_folders(tmp_path):
    for name in ("one", "other"):
        write(tmp_path / name / "embeddings", spread=1.0)
    assert compare(tmp_path / "one", tmp_path / "other").first_folder == tmp_path / "one/embeddings"


def test_compare_refuses_other_items(tmp_path):
    one, other = write(tmp_path / "one", spread=1.0), write(tmp_path / "other", spread=1.0, item_count=63)
    with pytest.raises(EvaluationError, match=r"6 of their items are only in the second \(audio-60, audio-61"):
        compare(one, other)


def test_compare_refuses_items_of_another_class(toy_embeddings, tmp_path):
    embeddings, info = read_embeddings(toy_embeddings)
    name = embeddings.items[0].item_id
    items = tuple(replace(i, class_name="other") if i.item_id == name else i for i in embeddings.items)
    writer = EmbeddingsWriter(tmp_path / "other", fingerprint=info.fingerprint)
    hashes = read_content_hashes(toy_embeddings)
    writer.add(replace(embeddings, items=items), content_hash_by_item_id=hashes)
    writer.finish(class_names=info.class_names)
    with pytest.raises(EvaluationError, match=rf"1 of their items are of another class or group \({name}\)"):
        compare(toy_embeddings, tmp_path / "other")


def test_compare_of_one_medium_has_the_direction_to_all_alone(toy_manifest, toy_run, toy_runtime, tmp_path):
    images = [item for item in read_manifest(toy_manifest) if item.medium is Medium.IMAGE]
    write_manifest(images, tmp_path / "images.csv")
    embed(tmp_path / "images.csv", checkpoint=toy_run, out=tmp_path / "images", runtime=toy_runtime)
    report = compare(tmp_path / "images", tmp_path / "images")
    assert [each.name for each in report.directions] == ["image_to_all"]
    assert [each.name for each in report.averages] == ["multi_modality"]
