"""Both protocols against slow loops, and the shape of what they report."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from fieldmark.errors import EvaluationError, NonFiniteEmbeddingError
from fieldmark.evaluation.measurement import evaluate, measure_validation_map
from fieldmark.evaluation.protocol import PAPER, PROTOCOLS, STRICT
from fieldmark.evaluation.ranking import Compute
from fieldmark.io import encode_report
from fieldmark.leakage import Leak
from fieldmark.origin import LinkKind
from fieldmark.types import MEDIA, Embeddings, Item, Medium, Split

LEAKS = (Leak("audio-0", LinkKind.GROUP, "trained"), Leak("another", LinkKind.FILE, "trained"))


def by_name(evaluation):
    return {direction.name: direction for direction in (*evaluation.directions, *evaluation.same_medium)}


def slow_items(embeddings, *, vector):
    """(item, vector) in order, from the definition."""
    found = {}
    for row, item in enumerate(embeddings.items):
        found.setdefault(item.item_id, (item, []))[1].append(row)
    for item, rows in found.values():
        if vector == "embedding":
            mean = np.mean([embeddings.embedding[row] / np.linalg.norm(embeddings.embedding[row]) for row in rows], 0)
        else:
            scores = np.exp(np.mean(embeddings.logits[rows].astype(float), axis=0))
            mean = scores / scores.sum()
        yield item, mean / np.linalg.norm(mean)


def slow_map(embeddings, query_medium, gallery_medium, *, vector, exclude_self, skip_without_relevant):
    items = list(slow_items(embeddings, vector=vector))
    values = []
    for query, query_vector in items:
        if query.medium != query_medium:
            continue
        gallery = [
            (float(query_vector @ other_vector), other.class_name == query.class_name)
            for other, other_vector in items
            if (gallery_medium is None or other.medium == gallery_medium)
            and not (exclude_self and other.item_id == query.item_id)
        ]
        relevant = [hit for _, hit in sorted(gallery, key=lambda pair: -pair[0])]
        ranks = [rank for rank, hit in enumerate(relevant, start=1) if hit]
        if ranks or not skip_without_relevant:
            values.append(sum(found / rank for found, rank in enumerate(ranks, start=1)) / max(len(ranks), 1))
    return np.mean(values)


@pytest.mark.parametrize("protocol", [PAPER, STRICT], ids=lambda protocol: protocol.name)
def test_evaluate_equals_slow_loops_in_every_direction(make_embeddings, protocol):
    embeddings = make_embeddings()
    found = evaluate(embeddings, protocol=protocol)
    assert len(found.directions) == 16
    for direction in (*found.directions, *found.same_medium):
        expected = slow_map(
            embeddings,
            direction.query_medium,
            direction.gallery_medium,
            vector=protocol.vector,
            exclude_self=protocol.exclude_self,
            skip_without_relevant=protocol.skip_without_relevant,
        )
        assert direction.mean_average_precision == pytest.approx(expected, abs=1e-12)
    between = [d.mean_average_precision for d in found.directions if d.gallery_medium is not None]
    assert found.bi_modality == pytest.approx(np.mean(between))
    assert found.multi_modality == pytest.approx(
        np.mean([by_name(found)[f"{m}_to_all"].mean_average_precision for m in MEDIA])
    )


def test_evaluate_removes_the_query_under_strict_and_keeps_it_under_paper(make_embeddings):
    # One item per class and medium: within a medium only the query itself is relevant.
    embeddings = make_embeddings(items_per_class=1)
    paper, strict = evaluate(embeddings, protocol=PAPER), evaluate(embeddings, protocol=STRICT)
    assert by_name(paper)["image_to_image"].mean_average_precision == 1.0
    assert "image_to_image" not in by_name(strict)
    assert by_name(paper)["image_to_all"].gallery_count == by_name(strict)["image_to_all"].gallery_count == 16


def with_lonely_image(embeddings) -> Embeddings:
    """Adds an image of a class that no other item has."""
    lonely = Item("lonely", Medium.IMAGE, class_name="dodo", split=Split.TEST)
    return Embeddings(
        (*embeddings.items, lonely),
        np.append(embeddings.start_seconds, np.nan),
        np.append(embeddings.end_seconds, np.nan),
        np.concatenate([embeddings.embedding, embeddings.embedding[:1]]),
        np.concatenate([embeddings.logits, embeddings.logits[:1]]),
    )


def test_evaluate_leaves_a_query_without_relevant_items_out_under_strict_only(make_embeddings):
    embeddings = with_lonely_image(make_embeddings())
    strict = by_name(evaluate(embeddings, protocol=STRICT))["image_to_text"]
    paper = by_name(evaluate(embeddings, protocol=PAPER))["image_to_text"]
    assert (strict.query_count, strict.without_relevant_count) == (12, 1)
    assert (paper.query_count, paper.without_relevant_count) == (13, 1)
    alone = by_name(evaluate(make_embeddings(), protocol=PAPER))["image_to_text"]
    assert paper.mean_average_precision == pytest.approx(alone.mean_average_precision * 12 / 13)


def test_evaluate_drops_leaking_items_under_strict_only(make_embeddings):
    embeddings = make_embeddings(segments=1)
    strict = evaluate(embeddings, protocol=STRICT, leaks=LEAKS)
    paper = evaluate(embeddings, protocol=PAPER, leaks=LEAKS)
    assert (strict.leaking_count, strict.item_count[Medium.AUDIO]) == (1, 11)
    assert (paper.leaking_count, paper.item_count[Medium.AUDIO]) == (0, 12)
    assert by_name(strict)["audio_to_image"].query_count == by_name(strict)["image_to_audio"].gallery_count == 11


def test_evaluate_names_the_directions_of_an_absent_medium(make_embeddings):
    found = evaluate(make_embeddings(media=(Medium.IMAGE, Medium.AUDIO)), protocol=STRICT)
    assert [d.name for d in found.directions] == ["image_to_audio", "image_to_all", "audio_to_image", "audio_to_all"]
    assert len(found.absent) == 12
    assert "image_to_text" in found.absent
    assert "video_to_all" in found.absent
    assert encode_report(found)["counts"] == {"image": 12, "text": 0, "video": 0, "audio": 12}
    assert found.bi_modality == pytest.approx(
        np.mean([found.directions[0].mean_average_precision, found.directions[2].mean_average_precision])
    )


def test_evaluate_of_one_medium_has_no_bi_modality(make_embeddings):
    found = evaluate(make_embeddings(media=(Medium.TEXT,)), protocol=STRICT)
    assert found.bi_modality is None
    assert [d.name for d in found.directions] == ["text_to_all"]
    assert json.loads(json.dumps(encode_report(found)))["map_average"]["bi_modality"] is None
    assert "bi-modality tasks:    -" in found.to_text()


def test_evaluate_of_media_without_a_shared_class_leaves_their_directions_out(make_embeddings):
    embeddings = make_embeddings(media=(Medium.IMAGE, Medium.TEXT))
    items = tuple(
        replace(item, class_name=f"other {item.class_name}") if item.medium is Medium.TEXT else item
        for item in embeddings.items
    )
    found = evaluate(replace(embeddings, items=items), protocol=STRICT)
    assert [d.name for d in found.directions] == ["image_to_all", "text_to_all"]
    assert "image_to_text" in found.absent


def test_evaluate_averages_over_classes_not_queries(make_embeddings):
    embeddings = make_embeddings(media=(Medium.IMAGE, Medium.TEXT))
    keep = [row for row, item in enumerate(embeddings.items) if item.item_id not in {"image-0", "image-4", "image-1"}]
    some = Embeddings(
        tuple(embeddings.items[row] for row in keep),
        embeddings.start_seconds[keep],
        embeddings.end_seconds[keep],
        embeddings.embedding[keep],
    )
    by_class = []
    for class_name in {item.class_name for item in some.items}:
        rows = [r for r, i in enumerate(some.items) if i.medium is Medium.TEXT or i.class_name == class_name]
        part = Embeddings(
            tuple(some.items[r] for r in rows), some.start_seconds[rows], some.end_seconds[rows], some.embedding[rows]
        )
        by_class.append(by_name(evaluate(part, protocol=STRICT))["image_to_text"].mean_average_precision)
    found = by_name(evaluate(some, protocol=STRICT))["image_to_text"]
    assert found.class_mean_average_precision == pytest.approx(np.mean(by_class))
    assert found.class_mean_average_precision != pytest.approx(found.mean_average_precision)


def test_evaluate_reports_chance_that_random_embeddings_meet(make_embeddings):
    embeddings = make_embeddings(items_per_class=40, class_count=10)
    noise = np.random.default_rng(1).normal(size=embeddings.embedding.shape).astype(np.float32)
    for direction in evaluate(replace(embeddings, embedding=noise), protocol=STRICT).directions:
        assert direction.mean_average_precision == pytest.approx(direction.chance, rel=0.1)
        low, high = direction.interval_95
        assert low < direction.mean_average_precision < high


def test_evaluate_of_equal_embeddings_is_chance_exactly(make_embeddings):
    embeddings = make_embeddings(items_per_class=5)
    found = evaluate(replace(embeddings, embedding=np.ones_like(embeddings.embedding)), protocol=STRICT)
    for direction in (*found.directions, *found.same_medium):
        assert direction.mean_average_precision == pytest.approx(direction.chance, abs=1e-12)


def test_evaluate_of_perfect_embeddings_is_one(make_embeddings):
    for direction in evaluate(make_embeddings(spread=0.0), protocol=STRICT).directions:
        assert direction.mean_average_precision == 1.0
        assert direction.interval_95 == (1.0, 1.0)


def test_evaluate_widens_the_interval_when_items_share_groups(make_embeddings):
    embeddings = make_embeddings(items_per_class=30, spread=1.5)
    items = {item.item_id: replace(item, group=item.class_name) for item in embeddings.items}
    grouped = replace(embeddings, items=tuple(items[item.item_id] for item in embeddings.items))
    apart = by_name(evaluate(embeddings, protocol=STRICT))["image_to_audio"]
    together = by_name(evaluate(grouped, protocol=STRICT))["image_to_audio"]
    assert apart.mean_average_precision == together.mean_average_precision
    assert np.diff(together.interval_95) > 1.5 * np.diff(apart.interval_95)


def test_evaluate_gives_no_interval_where_queries_or_gallery_are_of_one_group(make_embeddings):
    embeddings = make_embeddings(items_per_class=6)
    items = {i.item_id: replace(i, group="tape" if i.medium is Medium.AUDIO else None) for i in embeddings.items}
    grouped = replace(embeddings, items=tuple(items[item.item_id] for item in embeddings.items))
    found = evaluate(grouped, protocol=STRICT)
    assert by_name(found)["audio_to_image"].interval_95 is by_name(found)["image_to_audio"].interval_95 is None
    assert by_name(found)["audio_to_image"].interval_95_this_gallery is None
    assert by_name(found)["image_to_text"].interval_95 is not None
    assert found.interval_95_average["bi_modality"] is None
    line = next(line for line in found.to_text().splitlines() if line.startswith("A→I"))
    assert line.split()[2] == "-"


def test_evaluate_repeats_its_intervals_for_a_seed(make_embeddings):
    embeddings = make_embeddings()
    assert evaluate(embeddings, protocol=STRICT, seed=3) == evaluate(embeddings, protocol=STRICT, seed=3)
    assert (
        evaluate(embeddings, protocol=STRICT, seed=3).directions[0].interval_95_this_gallery
        != evaluate(embeddings, protocol=STRICT, seed=4).directions[0].interval_95_this_gallery
    )


def test_evaluate_under_strict_does_not_depend_on_the_order_of_items(make_embeddings):
    embeddings = make_embeddings(items_per_class=6, segments=1)
    first = by_name(evaluate(embeddings, protocol=STRICT))
    order = np.random.default_rng(2).permutation(len(embeddings.items))
    shuffled = Embeddings(
        tuple(embeddings.items[row] for row in order),
        embeddings.start_seconds[order],
        embeddings.end_seconds[order],
        embeddings.embedding[order],
    )
    for name, direction in by_name(evaluate(shuffled, protocol=STRICT, compute=Compute(chunk_bytes=5000))).items():
        assert direction.mean_average_precision == pytest.approx(first[name].mean_average_precision, abs=1e-15)


def test_evaluation_to_json_has_the_keys_of_the_contract(make_embeddings):
    found = json.loads(json.dumps(encode_report(evaluate(make_embeddings(), protocol=STRICT))))
    assert (found["protocol"], found["split"], found["class_count"]) == ("strict", "test", 4)
    assert found["counts"] == {"image": 12, "text": 12, "video": 12, "audio": 12}
    names = {f"{q}_to_{g}" for q in MEDIA for g in (*MEDIA, "all") if q != g}
    assert set(found["map"]) == set(found["chance"]) == set(found["interval_95"]) == names
    assert set(found["map_average"]) == {"bi_modality", "multi_modality"}
    assert all(low <= found["map"][name] <= high for name, (low, high) in found["interval_95"].items())


def test_evaluate_without_split_takes_all_items(make_embeddings):
    embeddings = make_embeddings()
    whole = replace(
        embeddings, items=tuple(replace(item, split=None) for item in embeddings.items[:1]) + embeddings.items[1:]
    )
    assert evaluate(whole, protocol=STRICT, split=None).item_count[Medium.IMAGE] == 12
    assert evaluate(whole, protocol=STRICT).item_count[Medium.IMAGE] == 11


def test_evaluation_tells_the_split_its_items_are_of(make_embeddings):
    embeddings = make_embeddings()
    assert evaluate(embeddings, protocol=STRICT, split=None).split is Split.TEST
    items = tuple(replace(item, split=Split.TRAIN) if item.item_id == "text-0" else item for item in embeddings.items)
    mixed = evaluate(replace(embeddings, items=items), protocol=STRICT, split=None)
    assert mixed.split is None
    assert encode_report(mixed)["split"] is None
    assert "all items" in mixed.to_text()


def test_evaluate_names_items_that_are_not_finite(make_embeddings):
    embeddings = make_embeddings()
    embeddings.embedding[0] = math.nan
    with pytest.raises(NonFiniteEmbeddingError, match="image-0"):
        evaluate(embeddings, protocol=STRICT)


def test_evaluate_without_a_shared_class_says_what_to_do(make_embeddings):
    embeddings = make_embeddings(items_per_class=1, media=(Medium.IMAGE,))
    with pytest.raises(EvaluationError, match="Embed more items"):
        evaluate(embeddings, protocol=STRICT)


def test_the_table_shows_the_16_tasks_in_80_columns(make_embeddings):
    embeddings = with_lonely_image(make_embeddings())
    found = evaluate(embeddings, protocol=STRICT)
    leaks = tuple(Leak(f"{n}", LinkKind.GROUP, "0") for n in range(1234))
    text = replace(found, leaks=leaks, without_class_count=5).to_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "Protocol strict, split test, 5 classes" in text
    assert "image 13, text 12" in text
    assert "1,234 that leak from train (1,234 group): 0: 0 in train" in text
    for symbol in ("I→T", "I→All", "A→V", "V→All"):
        line = next(line for line in text.splitlines() if line.startswith(symbol))
        assert len(line.split()) == 10
    for name, title in (
        ("bi_modality", "Average of 12 bi-modality"),
        ("multi_modality", "Average of  4 multi-modality"),
    ):
        low, high = found.interval_95_average[name]
        assert any(line.startswith(title) and f"({low:.3f} to {high:.3f})" in line for line in text.splitlines())
    for column in ("MAP:", "Interval:", "By class:", "Chance:", "Gallery:", "No match:"):
        assert column in text
    assert "Classes without text: 1 (dodo)" in text


def test_the_table_at_large_counts_stays_in_80_columns(make_embeddings):
    found = evaluate(make_embeddings(), protocol=PAPER)
    large = tuple(
        replace(d, query_count=1_234_567, gallery_count=9_876_543, without_relevant_count=1_234_567)
        for d in found.directions
    )
    text = replace(found, directions=large, absent=("image_to_text",)).to_text()
    assert max(len(line) for line in text.splitlines()) <= 80


def test_evaluate_says_where_any_model_reaches_one(make_embeddings):
    found = evaluate(make_embeddings(class_count=1), protocol=STRICT)
    assert found.bi_modality == 1.0
    [caution] = found.cautions
    assert "whatever the model" in caution
    assert "I→T" in caution
    assert not evaluate(make_embeddings(), protocol=STRICT).cautions


def test_protocols_are_known_by_name():
    assert PROTOCOLS == {"paper": PAPER, "strict": STRICT}


def test_the_table_names_the_tasks_that_could_not_be_measured(make_embeddings):
    text = evaluate(make_embeddings(media=(Medium.TEXT,)), protocol=STRICT).to_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    unmeasured = " ".join(text.splitlines()).partition("class is missing: ")[2]
    assert all(symbol in unmeasured for symbol in ("I→T", "V→A", "T→I", "A→All"))
    assert "T→All" not in unmeasured


def test_validation_map_without_a_direction_between_media_is_the_mean_within_them():
    vectors = {Medium.IMAGE: ([1, 0], [1, 0.1], [0, 1]), Medium.TEXT: ([1, 0], [0, 1], [1, 0.1])}
    items, rows = [], []
    for medium, of_medium in vectors.items():
        for number, vector in enumerate(of_medium):
            name = f"{medium}-bird" if number < 2 else f"{medium}-other"
            items.append(Item(f"{medium}-{number}", medium, class_name=name))
            rows.append(vector)
    no_time = np.full(len(items), np.nan)
    embeddings = Embeddings(tuple(items), no_time, no_time, np.array(rows, dtype=np.float32))
    # Each photo finds the other first; each text finds the text of another class first.
    assert measure_validation_map(embeddings) == pytest.approx((1.0 + 0.5) / 2)


def test_interval_of_the_average_between_media_is_without_those_within_them():
    # Within a medium the classes lie apart; between the media they are exchanged, so that every query ranks 3 and 4.
    toward = {(Medium.IMAGE, "auk"): 0, (Medium.IMAGE, "tern"): 1, (Medium.TEXT, "auk"): 1, (Medium.TEXT, "tern"): 0}
    items = tuple(
        Item(f"{medium}-{name}-{number}", medium, class_name=name) for medium, name in toward for number in range(2)
    )
    no_time = np.full(len(items), np.nan)
    rows = np.repeat(np.eye(2, dtype=np.float32)[list(toward.values())], 2, axis=0)
    found = evaluate(Embeddings(items, no_time, no_time, rows), protocol=STRICT, split=None)
    assert found.interval_95_average["bi_modality"] == pytest.approx((5 / 12, 5 / 12))
