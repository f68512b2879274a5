"""Texts in parts, by which a gallery's curves learn what a few words tell."""

import shutil

import numpy as np
import pytest

from fieldmark import Gallery, Item, Medium
from fieldmark.embedding import ModelQueryEncoder, embed_segments, encode_item
from fieldmark.gallery.labels import save_class
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search import recalibration
from fieldmark.gallery.search.calibration import PairScale, ScoreCalibration, read_calibration
from fieldmark.gallery.search.curve import Curve, compute_sigmoid, compute_text_length
from fieldmark.gallery.search.fitting import fit_calibration
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.recalibration import FEWEST_WORDS, PARTS, cut_texts, recalibrate
from fieldmark.types import MediaLimits


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
    for item in texts:
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
    fits = []
    monkeypatch.setattr(
        recalibration, "fit_calibration", lambda *given, **named: fits.append(1) or fit_calibration(*given, **named)
    )

    def fit():
        calibrated = recalibrate(gallery.folder, index=gallery.index, encoder=encoder_of(gallery, toy_runtime))
        assert read_calibration(GalleryLayout(gallery.folder).calibration) == calibrated
        return calibrated, len(fits)

    assert fit() == (gallery.calibration, 0)
    (GalleryLayout(gallery.folder).calibration).write_text("{")
    assert fit() == (gallery.calibration, 1)
    [item, *_] = (stored.item for stored in gallery.index.items(limit=1))
    save_class(gallery.folder, gallery.index, class_name="Newcomer", item_ids=[item.item_id])
    labelled, count = fit()
    assert (labelled.fitted_on != gallery.calibration.fitted_on, count) == (True, 2)
    gallery.index.remove([item.item_id])
    assert fit()[1] == 3
    assert fit()[1] == 3


@pytest.mark.parametrize("kind", ["typed", "from a file", "of the gallery"])
def test_search_reads_the_curve_at_the_length_of_the_text(kind, gallery, toy_items, tmp_path):
    curve = Curve(3.0, -1.0, 0.3, relevant_count=50, query_count=20, slope_by_length=1.0, offset_by_length=0.25)
    scales = {(Medium.TEXT, medium): PairScale(0.0, 1.0, curve) for medium in Medium}
    lengths = (compute_text_length(2), compute_text_length(60))
    calibration = ScoreCalibration(scales, lengths, {Medium.TEXT: curve})
    calibrated = Gallery(gallery.folder, index=gallery.index, model=gallery.model, calibration=calibration)
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
            raise AssertionError(f"item '{item.item_id}' is embedded, but its embedding is in the store")

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

    monkeypatch.setattr(recalibration, "fit_calibration", fit)
    monkeypatch.setattr(recalibration, "ITEMS_PER_MEDIUM", 4)
    recalibrate(tmp_path, index=store, encoder=Encoder())
    assert sorted(fitted) == ["Auk", "Auk", "Wren", "Wren"]
