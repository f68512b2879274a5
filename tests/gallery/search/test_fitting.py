"""What a gallery's own items tell of its scores, and whether it holds a query's class; and when it is fitted anew."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fieldmark import Gallery
from fieldmark.embedding import embed_segments, encode_item
from fieldmark.gallery.labels import save_class
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search import fitting
from fieldmark.gallery.search.calibration import (
    UNCALIBRATED,
    Curve,
    PairScale,
    ScoreCalibration,
    compute_sigmoid,
    compute_text_length,
    read_calibration,
    write_calibration,
)
from fieldmark.gallery.search.fitting import (
    FEWEST_WORDS,
    PARTS,
    TextPart,
    cut_texts,
    fit_calibration,
    is_new_to_model,
    recalibrate,
    score_items,
)
from fieldmark.gallery.search.open_set import DEPTH, BestItems, answer_open_set, weigh_evidence
from fieldmark.gallery.search.open_set_fitting import (
    LOST_SHARE,
    SURE_PART,
    OpenSetCases,
    fit_open_set_curve,
    scale_depth,
)
from fieldmark.gallery.search.query import ItemId, QueryEmbedding
from fieldmark.names import Spellings
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.types import MEDIA, Embeddings, Item, MediaLimits, Medium, Split

CLASSES = ("Auk", "Bunting", "Crow", "Dipper", "Egret")


def birds(*, split=Split.TEST, noise=0.7, count=8, seed=0, with_groups=False):
    """Items of five classes in four media; each medium lies a little apart, so that its own items are nearer."""
    rng = np.random.default_rng(seed)
    center = np.eye(len(CLASSES), 12)
    items, rows = [], []
    for code, medium in enumerate(MEDIA):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                group = f"{medium}-{name}-{number // 2}" if with_groups else None
                items.append(Item(f"{medium}-{name}-{number}", medium, class_name=name, split=split, group=group))
                rows.append(center[label] + 0.6 * np.eye(12)[8 + code] + noise * rng.normal(size=12) / 3)
    embedding = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    nothing = np.full(len(items), np.nan)
    return Embeddings(tuple(items), nothing, nothing, embedding.astype(np.float32))


def calibrate(embeddings, known=CLASSES):
    return fit_calibration(embeddings, trained_classes=known, generator=np.random.default_rng(0))


def test_fit_judgment_has_a_curve_for_all_pairs_and_tells_own_medium_from_others():
    calibration = calibrate(birds())
    assert all(calibration.get_curve(query, hit) is not None for query in MEDIA for hit in MEDIA)
    own, other = (calibration.get_curve(Medium.IMAGE, hit) for hit in (Medium.IMAGE, Medium.AUDIO))
    assert (
        own.compute_logit(np.array([0.6]))[0] < other.compute_logit(np.array([0.6]))[0]
    )  # near to photos is nothing special


def test_fit_judgment_is_honest_on_new_items_of_the_same_kind():
    fitted, new = calibrate(birds(count=20)), birds(count=20, seed=1)
    of_medium = np.array([MEDIA.index(item.medium) for item in new.items])
    label = np.array([item.class_name for item in new.items])
    for query in range(4):
        for hit in range(4):
            if query == hit:
                continue
            score = new.embedding[of_medium == query] @ new.embedding[of_medium == hit].T
            said = compute_sigmoid(fitted.get_curve(MEDIA[query], MEDIA[hit]).compute_logit(score.ravel()))
            true = (label[of_medium == query][:, None] == label[of_medium == hit][None]).ravel()
            parts = np.array_split(np.argsort(said), 10)
            assert sum(abs(said[part].mean() - true[part].mean()) for part in parts) / 10 < 0.05


def test_fit_judgment_asks_no_item_that_was_trained_on():
    calibration = calibrate(birds(split=Split.TRAIN))
    assert not calibration.open_set_curves
    assert all(scale.curve is None for scale in calibration.scales.values())
    assert len(calibration.scales) == 16  # what is usual is known without labels


def test_fit_judgment_asks_items_of_classes_that_the_model_does_not_know():
    calibration = calibrate(birds(split=Split.TRAIN), known=("Wren",))
    assert all(calibration.get_curve(Medium.TEXT, hit) is not None for hit in MEDIA)


@pytest.mark.parametrize(
    ("split", "class_name", "is_new"),
    [
        (Split.TEST, "Auk", True),
        (Split.VALIDATION, "Auk", True),
        (Split.TRAIN, "Auk", False),
        (None, "Auk", False),
        (None, "Wren", True),
        (Split.TEST, None, False),
    ],
)
def test_is_new_to_model(split, class_name, is_new):
    item = Item("x", Medium.IMAGE, class_name=class_name, split=split)
    assert is_new_to_model(item, Spellings(CLASSES)) is is_new


def test_fit_judgment_leaves_out_the_query_and_its_group():
    embeddings = birds(with_groups=True)
    doubled = replace(embeddings, embedding=np.repeat(embeddings.embedding[::2], 2, axis=0))
    # Two items of each group are equal: were they counted, photos of one group would be certain at score 1.
    with_groups = calibrate(doubled).get_curve(Medium.IMAGE, Medium.IMAGE)
    alone = replace(doubled, items=tuple(replace(item, group=None) for item in doubled.items))
    assert with_groups.relevant_count < calibrate(alone).get_curve(Medium.IMAGE, Medium.IMAGE).relevant_count


def ask(calibration, gallery, query, shown):
    """The answer of a gallery of which some items are shown."""
    best, media_of = {}, {}
    for item in (item for item, is_shown in zip(gallery.items, shown, strict=True) if is_shown):
        media_of.setdefault(item.class_name, set()).add(item.medium)
    for medium in MEDIA:
        rows = np.flatnonzero(shown & np.array([item.medium is medium for item in gallery.items]))
        rows = rows[np.argsort(-(gallery.embedding[rows] @ query.embedding), kind="stable")[:DEPTH]]
        if rows.size:
            logit = calibration.get_curve(query.medium, medium).compute_logit(gallery.embedding[rows] @ query.embedding)
            best[medium] = BestItems(logit, [gallery.items[row].class_name for row in rows])
    return answer_open_set([weigh_evidence(best, query=query, calibration=calibration, media_of=media_of)])


def test_calibration_tells_classes_that_are_there_from_those_that_are_not():
    calibration = calibrate(birds())
    new = birds(seed=1, count=4)
    gallery = birds(seed=2)
    there, gone = [], []
    for item, query in zip(new.items, new.embedding, strict=True):
        for found, rest in ((there, None), (gone, item.class_name)):
            shown = np.array([each.class_name != rest for each in gallery.items])
            found.append(ask(calibration, gallery, QueryEmbedding(item.medium, query), shown).probability)
    assert np.mean(np.array(there) >= 0.5) > 0.9
    assert np.mean(np.array(gone) < 0.5) > 0.9


@pytest.mark.parametrize("medium", [Medium.IMAGE, Medium.VIDEO, Medium.AUDIO])
def test_a_class_that_only_other_media_hold_is_found(medium):
    calibration, gallery = calibrate(birds(count=16)), birds(seed=2)
    new, found, gone = birds(seed=1, count=4), [], []
    for item, query in zip(new.items, new.embedding, strict=True):
        if item.medium is not medium:
            continue
        hidden = [each.class_name == item.class_name for each in gallery.items]
        own = [each.medium is medium for each in gallery.items]
        asked = QueryEmbedding(medium, query)
        found.append(ask(calibration, gallery, asked, ~(np.array(hidden) & own)).is_likely)
        gone.append(ask(calibration, gallery, asked, ~np.array(hidden)).is_likely)
    assert np.mean(found) >= 0.7
    assert np.mean(gone) < 0.1


def test_a_sample_is_compared_by_as_many_items_as_stand_for_the_best_of_all(monkeypatch):
    sample = birds(count=8)
    share = dict.fromkeys(MEDIA, 0.2)
    scaled = fit_calibration(
        sample, trained_classes=CLASSES, generator=np.random.default_rng(0), sampled_share=share
    ).open_set_curves[Medium.IMAGE]
    monkeypatch.setattr("fieldmark.gallery.search.open_set_fitting.DEPTH", 1)
    assert calibrate(sample).open_set_curves[Medium.IMAGE] == scaled


@pytest.mark.parametrize(("share", "depth"), [(1.0, 5), (0.5, 2), (0.2, 1), (0.001, 1)])
def test_scale_depth(share, depth):
    assert scale_depth(share) == depth


def test_between_the_edge_of_those_that_are_there_and_the_line_nothing_can_be_told():
    rng = np.random.default_rng(0)
    count = 400
    cases = OpenSetCases()
    for row in range(count):
        cases.add(row, rng.normal(4, 3), is_there=True)
        cases.add(row, rng.normal(-4, 3), is_there=False)
    curve = fit_open_set_curve(cases, query_item=np.arange(count), length=None)
    logit, there = curve.compute_logit(np.array(cases.scores)), np.array(cases.is_there)
    assert (logit[there] < -curve.doubt).mean() == pytest.approx(LOST_SHARE, abs=0.01)
    assert curve.doubt > 0
    low, high = np.median(logit[~there]), np.median(logit[there])
    assert low + SURE_PART * (high - low) == pytest.approx(0, abs=1e-6)


def test_a_query_nearer_to_the_middle_than_all_others_is_unlike_them():
    embeddings = birds()
    center = calibrate(embeddings).centers[Medium.IMAGE]
    photos = np.array([item.medium is Medium.IMAGE for item in embeddings.items])
    assert center.is_unlike_items(np.array(center.direction))
    assert np.mean([center.is_unlike_items(row) for row in embeddings.embedding[photos]]) <= 0.05


def test_the_line_stands_at_the_edge_of_those_that_are_there(monkeypatch):
    curves = []
    for share in (0.0, 0.05, 0.5):
        monkeypatch.setattr("fieldmark.gallery.search.open_set_fitting.LOST_SHARE", share)
        curves.append(calibrate(birds()).open_set_curves[Medium.IMAGE])
    assert len({curve.slope for curve in curves}) == 1
    # What is plainly there must count for more, the more of it may be lost.
    assert curves[0].offset >= curves[1].offset > curves[2].offset


def test_item_scores_takes_the_best_segment_of_each_item():
    rng = np.random.default_rng(0)
    query, segment = rng.normal(size=(3, 4)), rng.normal(size=(6, 4))
    scores = score_items(query, segment, first=np.array([0, 1, 4]))
    slow = [[max(q @ segment[row] for row in rows) for rows in ([0], [1, 2, 3], [4, 5])] for q in query]
    np.testing.assert_allclose(scores, slow)
    many = rng.normal(size=(150, 4))
    blocks = score_items(many, segment, first=np.array([0, 1, 4]))
    np.testing.assert_allclose(blocks, [score_items(q[None], segment, first=np.array([0, 1, 4]))[0] for q in many])
    assert score_items(query[:0], segment, first=np.array([0, 1, 4])).shape == (0, 3)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def vague(embedding, rng):
    """What few words leave of a description: no farther from anything, but from its own kind."""
    return unit(embedding + unit(rng.normal(size=embedding.shape)))


def read_in_part(embeddings, *, readable=lambda _: True, seed=0):
    """Gives every text as it is, of 20 words, and vaguely, of three."""
    rng = np.random.default_rng(seed)
    row_of = {item.item_id: row for row, item in enumerate(embeddings.items)}

    def read(items):
        readables = [item for item in items if readable(item)]
        whole = [TextPart(item.item_id, 20, None) for item in readables]
        return whole + [
            TextPart(item.item_id, 3, vague(embeddings.embedding[row_of[item.item_id]], rng)) for item in readables
        ]

    return read


def test_fit_judgment_is_honest_on_few_words_and_on_many():
    known, new = birds(count=30), birds(count=30, seed=1)
    fitted = fit_calibration(
        known, trained_classes=CLASSES, generator=np.random.default_rng(0), read_texts=read_in_part(known)
    )
    plain = calibrate(known)
    text, photo = (np.array([item.medium is medium for item in new.items]) for medium in (Medium.TEXT, Medium.IMAGE))
    label = np.array([item.class_name for item in new.items])
    true = (label[text][:, None] == label[photo][None]).ravel()
    few = vague(new.embedding[text], np.random.default_rng(2))
    gap = {}
    for name, calibration in (("by length", fitted), ("plain", plain)):
        for words, query in ((20, new.embedding[text]), (3, few)):
            curve = calibration.get_curve(Medium.TEXT, Medium.IMAGE, word_count=words)
            said = compute_sigmoid(curve.compute_logit((query @ new.embedding[photo].T).ravel()))
            parts = np.array_split(np.argsort(said), 10)
            gap[name, words] = sum(abs(said[part].mean() - true[part].mean()) for part in parts) / 10
    assert gap["by length", 20] < 0.05
    assert gap["by length", 3] < 0.05
    assert gap["plain", 3] > 2 * gap["by length", 3]


def test_fit_judgment_of_parts_tells_less_of_the_collection_by_few_words():
    known = birds(count=30)
    fitted = fit_calibration(
        known, trained_classes=CLASSES, generator=np.random.default_rng(0), read_texts=read_in_part(known)
    )
    curve, length = fitted.open_set_curves[Medium.TEXT], fitted.clip_length
    assert curve.query_count == 150
    assert curve.fix_length(length(3)).slope < curve.fix_length(length(20)).slope
    assert all(
        curve.fix_length(1.0) is curve for medium, curve in fitted.open_set_curves.items() if medium is not Medium.TEXT
    )


def test_fit_judgment_of_texts_that_cannot_be_read_is_that_without_lengths():
    known = birds()
    none = read_in_part(known, readable=lambda _: False)
    unread = fit_calibration(known, trained_classes=CLASSES, generator=np.random.default_rng(0), read_texts=none)
    assert unread == calibrate(known)
    some = read_in_part(known, readable=lambda item: item.item_id.endswith(("0", "1")))
    read = fit_calibration(known, trained_classes=CLASSES, generator=np.random.default_rng(0), read_texts=some)
    assert read.get_curve(Medium.TEXT, Medium.IMAGE).query_count == 10


def test_calibration_is_kept_and_read_back(tmp_path):
    calibration = fit_calibration(
        birds(), trained_classes=CLASSES, generator=np.random.default_rng(0), read_texts=read_in_part(birds())
    )
    write_calibration(calibration, tmp_path)
    assert read_calibration(tmp_path) == calibration
    assert not read_calibration(tmp_path / "nothing").scales


def write_earlier(path, version):
    """A file as an earlier version wrote it; returns the calibration without what that version did not know."""
    calibration = calibrate(birds())
    write_calibration(calibration, path.parent)
    value = json.loads(path.read_text()) | {"format_version": version}
    del value["holds_elsewhere"], value["centers"]
    for curve in [pair["curve"] for pair in value["pairs"]] + list(value["holds"].values()):
        del curve["doubt"]
        if version < 4:
            del curve["slope_by_length"], curve["offset_by_length"]
    if version < 4:
        del value["lengths"]
    path.write_text(json.dumps(value))
    curves = {medium: replace(curve, doubt=0.0) for medium, curve in calibration.open_set_curves.items()}
    return replace(calibration, open_set_curves=curves, elsewhere_curves={}, centers={})


@pytest.mark.parametrize("version", [3, 4])
def test_a_calibration_of_a_version_before_doubt_is_read_as_it_is(version, tmp_path):
    assert read_calibration(tmp_path) == UNCALIBRATED
    wanted = write_earlier(tmp_path / "calibration.json", version)
    assert read_calibration(tmp_path) == wanted


@pytest.mark.parametrize("version", [1, 2])
def test_a_calibration_of_an_earlier_version_is_read_without_the_curves_of_another_evidence(version, tmp_path):
    wanted = write_earlier(tmp_path / "calibration.json", version)
    assert read_calibration(tmp_path) == replace(wanted, open_set_curves={})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format_version": 9}', '{"format_version": 1, "pairs": [{}]}'])
def test_calibration_that_is_damaged(content, tmp_path):
    from fieldmark.errors import DamagedGalleryError

    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(DamagedGalleryError, match="fieldmark index"):
        read_calibration(tmp_path)


# ---------------------------------------------------------------- a gallery that has changed


@pytest.fixture(scope="module")
def gallery(toy_gallery, toy_runtime):
    return Gallery.open(toy_gallery, runtime=toy_runtime)


def encoder_of(gallery, runtime):
    return ModelQueryEncoder(gallery.model, runtime=runtime)


def embedding_of(text, model):
    rows, _ = embed_segments(
        encode_item(Item("q", Medium.TEXT, text=text), model=model), medium=Medium.TEXT, network=model.network
    )
    mean = rows.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_text_parts_are_words_that_stand_together(gallery, toy_runtime, toy_items):
    texts = [item for item in toy_items if item.medium is Medium.TEXT]
    parts = cut_texts(texts, encoder=encoder_of(gallery, toy_runtime))
    for item in texts[::4]:
        words = (item.text or item.path.read_text()).split()
        own = [part for part in parts if part.item_id == item.item_id]
        assert [part.word_count for part in own if part.embedding is None] == [len(words)]
        cut = [part for part in own if part.embedding is not None]
        assert len(cut) == PARTS
        for part, low, high in zip(
            cut, (2, np.sqrt(2 * len(words))), (np.sqrt(2 * len(words)), len(words)), strict=True
        ):
            assert round(low) <= part.word_count <= round(high)
            stretches = [words[start:][: part.word_count] for start in range(len(words) - part.word_count + 1)]
            nearest = max(embedding_of(" ".join(stretch), gallery.model) @ part.embedding for stretch in stretches)
            assert nearest == pytest.approx(1, abs=1e-5)


def test_text_parts_of_the_same_text_are_the_same_whatever_stands_beside_it(gallery, toy_runtime, toy_items):
    texts = [item for item in toy_items if item.medium is Medium.TEXT]
    all_of_them = cut_texts(texts, encoder=encoder_of(gallery, toy_runtime))
    [first, *_] = texts
    alone = cut_texts([first], encoder=encoder_of(gallery, toy_runtime))
    beside = [part for part in all_of_them if part.item_id == first.item_id]
    assert [part.word_count for part in alone] == [part.word_count for part in beside]


def test_text_parts_pass_over_what_cannot_be_read_and_leave_short_texts_whole(gallery, toy_runtime, tmp_path):
    gone = Item("gone", Medium.TEXT, path=tmp_path / "gone.txt")
    short = Item("short", Medium.TEXT, text=" ".join(["wren"] * FEWEST_WORDS))
    [part] = cut_texts([gone, short], encoder=encoder_of(gallery, toy_runtime))
    assert (part.item_id, part.word_count, part.embedding) == ("short", FEWEST_WORDS, None)


def test_what_was_fitted_on_the_same_items_stays_and_what_changed_is_fitted_anew(
    toy_gallery, toy_runtime, tmp_path, monkeypatch
):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    gallery = Gallery.open(tmp_path / "gallery", runtime=toy_runtime)
    first = gallery.calibration  # an open gallery takes the last one that was written
    fits = []
    monkeypatch.setattr(
        fitting, "fit_calibration", lambda *given, **named: fits.append(1) or fit_calibration(*given, **named)
    )

    def fit():
        calibrated = recalibrate(gallery.folder, index=gallery.index, encoder=encoder_of(gallery, toy_runtime))
        assert read_calibration(gallery.folder) == calibrated
        return calibrated, len(fits)

    assert fit() == (first, 0)
    (GalleryLayout(gallery.folder).calibration).write_text("{")
    assert fit() == (first, 1)
    [item, *_] = (stored.item for stored in gallery.index.items(limit=1))
    save_class(gallery.folder, gallery.index, class_name="Newcomer", item_ids=[item.item_id])
    labelled, count = fit()
    assert (labelled.fitted_on != first.fitted_on, count) == (True, 2)
    assert gallery.calibration == labelled
    gallery.index.remove([item.item_id])
    assert fit()[1] == 3
    assert fit()[1] == 3


@pytest.mark.parametrize("kind", ["typed", "from a file", "of the gallery"])
def test_search_reads_the_curve_at_the_length_of_the_text(kind, gallery, toy_items, tmp_path):
    curve = Curve(3.0, -1.0, 0.3, relevant_count=50, query_count=20, slope_by_length=1.0, offset_by_length=0.25)
    scales = {(Medium.TEXT, medium): PairScale(0.0, 1.0, curve) for medium in Medium}
    lengths = (compute_text_length(2), compute_text_length(60))
    calibration = ScoreCalibration(scales, lengths, {Medium.TEXT: curve})
    folder = shutil.copytree(gallery.folder, tmp_path / "calibrated")
    write_calibration(calibration, folder)
    calibrated = Gallery(folder, index=gallery.index, model=gallery.model)
    text = next(item for item in toy_items if item.medium is Medium.TEXT)
    words = (text.text or text.path.read_text()).split()
    if kind == "typed":
        words, query = words[:4], " ".join(words[:4])
    elif kind == "from a file":
        words, query = words[:5], tmp_path / "query.txt"
        query.write_text(" ".join(words))
    else:
        query = ItemId(text.item_id)
    result = calibrated.search(query, k=10, media=[Medium.IMAGE])
    assert result.class_name is None
    for hit in result.hits:
        wanted = compute_sigmoid(curve.compute_logit(np.array([hit.score]), calibration.clip_length(len(words))))
        assert hit.probability == pytest.approx(wanted[0], abs=1e-6)
    assert len({round(hit.probability, 6) for hit in result.hits}) > 1
    assert result.collection is not None


def test_a_calibration_is_fitted_on_a_limited_number_of_items_half_of_them_new(embeddings_of, tmp_path, monkeypatch):
    class Encoder:
        class_names, fingerprint, limits = ("Auk",), "fake", MediaLimits()

        def embed(self, item):
            raise AssertionError(f"'{item}' is embedded, but its embedding is in the store")

        embed_class_name = embed_texts = named_species = measure_sureness = score_species = can_compare = (
            can_compare_looks
        ) = embed
        name_weight = None
        learned_media = frozenset(Medium)
        has_names = is_covered = get_overlap_weight = knows_words = embed
        resolutions = ()

    rows = np.eye(8, dtype=np.float32)
    names = ["Auk"] * 5 + ["Wren"] * 3
    items = [Item(f"image-{number}", Medium.IMAGE, class_name=name) for number, name in enumerate(names)]
    store = LanceIndex.create(tmp_path / "segments", fingerprint="fake", dim=8)
    parts = embeddings_of(*((item, rows[number : number + 1]) for number, item in enumerate(items)))
    store.add(parts, content_hash_by_item_id={item.item_id: "h" for item in items})
    fitted = []

    def fit(embeddings, **_):
        fitted.extend(item.class_name for item in embeddings.items)
        return ScoreCalibration({})

    monkeypatch.setattr(fitting, "fit_calibration", fit)
    monkeypatch.setattr(fitting, "ITEMS_PER_MEDIUM", 4)
    recalibrate(tmp_path, index=store, encoder=Encoder())
    assert sorted(fitted) == ["Auk", "Auk", "Wren", "Wren"]
