"""Figures of the embedding space against their definitions."""

from dataclasses import replace

import numpy as np
import pytest

from fieldmark.evaluation.embedding_space import NEIGHBOR_COUNT, measure_hubness, measure_media_gap, measure_reliability
from fieldmark.evaluation.measurement import EvaluationContext, measure
from fieldmark.evaluation.protocol import PAPER, STRICT
from fieldmark.evaluation.ranking import Neighbors
from fieldmark.evaluation.result import SEEN, UNSEEN, Slice, average_by_class
from fieldmark.types import MEDIA, Embeddings, Item, Medium, Split


def test_measure_reliability_of_honest_probabilities_is_near_zero_and_of_others_their_gap():
    generator = np.random.default_rng(0)
    stated = generator.uniform(size=20_000)
    honest = measure_reliability(stated, (generator.uniform(size=20_000) < stated).astype(float))
    assert honest.error < 0.02
    assert [b.count for b in honest.bins] == [2000] * 10
    assert measure_reliability(np.full(50, 0.9), np.full(50, 0.4)).error == pytest.approx(0.5)
    assert measure_reliability(np.array([0.3]), np.array([1.0])).error == pytest.approx(0.7)


def test_measure_reliability_equals_the_definition():
    stated, true = np.array([0.1, 0.9, 0.4, 0.6]), np.array([0.0, 1.0, 1.0, 0.0])
    assert measure_reliability(stated, true, bin_count=2).error == pytest.approx(
        (abs(0.25 - 0.5) + abs(0.75 - 0.5)) / 2
    )


def test_media_gap_equals_the_means_over_all_pairs(make_embeddings):
    table = measure(make_embeddings(), protocol=STRICT, context=EvaluationContext()).evaluated
    units = table.rows.embedding / np.linalg.norm(table.rows.embedding, axis=1, keepdims=True)
    gaps = measure_media_gap(table)
    assert len(gaps) == 6
    for (one, other), gap in gaps.items():
        a, b = (np.flatnonzero(table.medium == MEDIA.index(medium)) for medium in (one, other))
        scores, same = units[a] @ units[b].T, table.rows.label[a][:, None] == table.rows.label[b]
        assert gap.same_class == pytest.approx(scores[same].mean())
        assert gap.other_class == pytest.approx(scores[~same].mean())
        assert gap.centroid_distance == pytest.approx(np.linalg.norm(units[a].mean(axis=0) - units[b].mean(axis=0)))


def test_hubness_is_high_where_one_item_is_found_by_all():
    query = np.arange(100)
    even = Neighbors(query, query, np.zeros(100), np.ones(100))
    hub = Neighbors(query, np.zeros(100, dtype=np.int64), np.zeros(100), np.ones(100))
    gallery = np.arange(100)
    assert measure_hubness(even, gallery=gallery).skewness == 0.0
    assert measure_hubness(even, gallery=gallery).never_share == 0.0
    found = measure_hubness(hub, gallery=gallery)
    assert found.skewness > 5
    assert (found.never_share, found.top_share) == (0.99, 1.0)


def test_confusions_name_the_classes_that_lie_together(make_embeddings):
    embeddings = make_embeddings(items_per_class=12, segments=1, spread=0.1)
    rows, names = embeddings.embedding.copy(), np.array([item.class_name for item in embeddings.items])
    rows[names == "bird 3"] += rows[names == "bird 1"].mean(axis=0) - rows[names == "bird 3"].mean(axis=0)
    twins = replace(embeddings, embedding=rows)
    space = measure(twins, protocol=STRICT, context=EvaluationContext(), with_space=True).evaluation.space
    first = space.confusions[0]
    assert (first.first, first.second) == ("bird 1", "bird 3")
    assert 0.2 < first.share < 0.8
    assert all(other.share < 0.2 for other in space.confusions[1:])


def test_confusions_equal_the_count_over_the_first_ten_of_every_other_medium(make_embeddings):
    measured = measure(make_embeddings(spread=2.0), protocol=STRICT, context=EvaluationContext(), with_space=True)
    table = measured.evaluated
    units = table.rows.embedding / np.linalg.norm(table.rows.embedding, axis=1, keepdims=True)
    counts = np.zeros((4, 4))
    for query in range(len(units)):
        for code in set(range(4)) - {int(table.medium[query])}:
            gallery = np.flatnonzero(table.medium == code)
            for row in gallery[np.argsort(-(units[gallery] @ units[query]))][:NEIGHBOR_COUNT]:
                counts[table.rows.label[query], table.rows.label[row]] += 1
    rates = counts / counts.sum(axis=1, keepdims=True)
    for confusion in measured.evaluation.space.confusions:
        one, other = table.class_names.index(confusion.first), table.class_names.index(confusion.second)
        assert confusion.share == pytest.approx((rates[one, other] + rates[other, one]) / 2)
    assert len(measured.evaluation.space.confusions) == 6


# ---------------------------------------------------------------- slices and ranks


def test_measure_at_wider_ranks_counts_every_item_of_the_rank(make_embeddings):
    embeddings = make_embeddings()
    genus = {"bird 0": "g", "bird 1": "g", "bird 2": "h"}
    found = measure(embeddings, protocol=STRICT, context=EvaluationContext(ranks={"genus": genus})).evaluation
    assert found.without_rank == ("bird 3",)
    renamed = tuple(replace(i, class_name=genus.get(i.class_name, i.class_name)) for i in embeddings.items)
    wide = measure(replace(embeddings, items=renamed), protocol=STRICT, context=EvaluationContext()).evaluation
    for mine, other in zip(found.directions, wide.directions, strict=True):
        assert mine.by_rank["genus"].mean_average_precision == pytest.approx(other.mean_average_precision)
        assert mine.by_rank["genus"].chance == pytest.approx(other.chance)
    assert found.rank_counts == {"genus": 3}
    text = found.to_text()
    assert "at genus rank (3 in all)" in text
    assert "a rank of 1 of 4 classes open" in text
    assert max(map(len, text.splitlines())) <= 80


def test_measure_at_ranks_that_tell_nothing_new_says_so(make_embeddings):
    ranks = {"genus": {f"bird {n}": f"genus {n}" for n in range(4)}, "family": {}}
    found = measure(make_embeddings(), protocol=STRICT, context=EvaluationContext(ranks=ranks)).evaluation
    assert found.rank_counts == {"genus": 4, "family": 0}
    for direction in found.directions:
        assert direction.by_rank.keys() == {"genus"}
        assert direction.by_rank["genus"].mean_average_precision == direction.mean_average_precision
    assert any("No two of the classes share a genus" in caution for caution in found.cautions)
    assert any("no class here a family" in caution for caution in found.cautions)


def test_measure_tells_unseen_classes_apart(make_embeddings):
    context = EvaluationContext(seen_classes=frozenset({"bird 0", "bird 1", "bird 2"}))
    found = measure(make_embeddings(), protocol=STRICT, context=context).evaluation
    assert found.unseen_classes == ("bird 3",)
    for direction in found.directions:
        apart, by_class = direction.by_slice[Slice.TRAINING], direction.by_slice[Slice.CLASS]
        assert apart[UNSEEN] == by_class["bird 3"]
        counts = apart[SEEN].query_count, apart[UNSEEN].query_count
        total = sum(n * apart[name].mean_average_precision for n, name in zip(counts, (SEEN, UNSEEN), strict=True))
        assert total / sum(counts) == pytest.approx(direction.mean_average_precision)
        chance = sum(n * apart[name].chance for n, name in zip(counts, (SEEN, UNSEEN), strict=True))
        assert chance / sum(counts) == pytest.approx(direction.chance)
    text = found.to_text()
    assert "queries of the 1 class unseen in training" in text
    assert "searches the whole gallery" in text
    assert "it has no scores" not in text
    paper = measure(make_embeddings(), protocol=PAPER, context=context).evaluation
    assert "it has no scores" in paper.to_text()


def test_measure_by_class_and_origin_average_to_the_whole(make_embeddings):
    embeddings = make_embeddings()
    items = {
        item.item_id: replace(item, extra=(("origin", "pseudo_clip" if int(item.item_id[-1]) % 2 else "film"),))
        for item in embeddings.items
        if item.medium is Medium.VIDEO
    }
    mixed = replace(embeddings, items=tuple(items.get(item.item_id, item) for item in embeddings.items))
    found = measure(mixed, protocol=STRICT, context=EvaluationContext()).evaluation
    assert found.origin_count == {Medium.VIDEO: {"film": 6, "pseudo_clip": 6}}
    assert ["6 of 12 video" in caution for caution in found.cautions] == [True]
    assert "say nothing about" in found.to_text()
    for direction in found.directions:
        for by in (Slice.CLASS, Slice.ORIGIN):
            means = direction.by_slice[by].values()
            if means:
                total = sum(mean.query_count * mean.mean_average_precision for mean in means)
                assert total / direction.query_count == pytest.approx(direction.mean_average_precision)
    means = average_by_class(found)
    assert list(means.values()) == sorted(means.values(), reverse=True)


def test_the_interval_of_an_average_holds_it(make_embeddings):
    found = measure(make_embeddings(items_per_class=8), protocol=STRICT, context=EvaluationContext()).evaluation
    low, high = found.interval_95_average["bi_modality"]
    assert low < found.bi_modality < high
    widths = [d.interval_95[1] - d.interval_95[0] for d in found.directions if d.gallery_medium is not None]
    assert high - low < np.mean(widths)


def test_measure_reliability_weighs_bins_by_their_size():
    found = measure_reliability(np.array([0.1, 0.2, 0.9]), np.array([0.0, 0.0, 0.0]), bin_count=2)
    assert [b.count for b in found.bins] == [2, 1]
    assert found.error == pytest.approx((2 * 0.15 + 0.9) / 3)


def test_hubness_skewness_is_the_third_standardized_moment():
    hub = Neighbors(np.arange(3), np.array([2, 2, 2]), np.zeros(3), np.ones(3))
    # Appearances 0, 0, 3: mean 1, variance 2, third moment (-1 - 1 + 8) / 3.
    assert measure_hubness(hub, gallery=np.arange(3)).skewness == pytest.approx(2 / 2**1.5)


def test_hubness_top_share_is_all_that_the_most_frequent_items_take():
    found = np.concatenate([np.repeat([0, 1], [30, 10]), np.arange(2, 62)])
    hub = Neighbors(np.arange(100), found, np.zeros(100), np.ones(100))
    assert measure_hubness(hub, gallery=np.arange(200)).top_share == pytest.approx(0.4)


def _space_of(*parts):
    """The embedding space of items (medium, class name, vector)."""
    items = tuple(
        Item(f"{medium}-{number}", medium, class_name=name, split=Split.TEST)
        for number, (medium, name, _) in enumerate(parts)
    )
    no_time = np.full(len(parts), np.nan)
    rows = np.array([vector for *_, vector in parts], dtype=np.float32)
    embeddings = Embeddings(items, no_time, no_time, rows)
    return measure(embeddings, protocol=STRICT, context=EvaluationContext(), with_space=True).evaluation.space


def test_calibration_takes_a_score_below_zero_as_probability_zero():
    space = _space_of((Medium.IMAGE, "auk", [1, 0]), (Medium.TEXT, "auk", [-1, 0]))
    [only] = space.calibration["image_to_text"].bins
    assert (only.stated, only.true_share) == (0.0, 1.0)


def test_calibration_asks_whether_the_best_hit_alone_is_relevant():
    space = _space_of((Medium.IMAGE, "auk", [1, 0]), (Medium.TEXT, "tern", [1, 0.1]), (Medium.TEXT, "auk", [1, 1]))
    assert space.calibration["image_to_text"].bins[0].true_share == 0.0


def test_hubness_of_a_direction_is_that_of_its_gallery():
    texts = [(Medium.TEXT, "auk", [1, 0.1 * number]) for number in range(2 * NEIGHBOR_COUNT)]
    space = _space_of((Medium.IMAGE, "auk", [1, 0]), *texts)
    assert space.hubness["image_to_text"].never_share == 0.5
    assert space.hubness["text_to_image"].never_share == 0.0


def test_measure_names_the_classes_that_lack_any_of_the_ranks(make_embeddings):
    ranks = {"genus": {"bird 0": "g", "bird 1": "g"}, "family": {f"bird {number}": "f" for number in range(3)}}
    found = measure(make_embeddings(), protocol=STRICT, context=EvaluationContext(ranks=ranks)).evaluation
    assert found.without_rank == ("bird 2", "bird 3")
