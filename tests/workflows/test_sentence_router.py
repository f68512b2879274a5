"""A model in the layout of sentence-transformers: its embeddings are ours, whatever way an item is given."""

import dataclasses
import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark import Medium, read_manifest
from fieldmark.build import load_model
from fieldmark.embedding import FailureLog, embed_items
from fieldmark.errors import UnreadableMediaError
from fieldmark.types import MEDIA

with pytest.MonkeyPatch.context() as patch:
    found = find_spec("datasets")
    if found is not None and found.origin is None:  # the library would take tests/datasets for a package of this name
        patch.setitem(sys.modules, "datasets", None)
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    from fieldmark.workflows.sentence_router import WEIGHTS_NAME, export_sentence_transformers

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library and what it imports


@pytest.fixture(scope="module")
def folder(toy_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("router") / "model"
    report = export_sentence_transformers(toy_run, folder)
    assert (report.media, report.dim) == (MEDIA, report.dim)
    return folder


@pytest.fixture(scope="module")
def router(folder):
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def items(toy_manifest):
    """Two whole files or texts of each medium."""
    whole = [each for each in read_manifest(toy_manifest) if each.start_seconds is None]
    return {medium: [each for each in whole if each.medium is medium][:2] for medium in MEDIA}


def embed_ours(items, run, runtime):
    model = load_model(run, device=runtime.choose_device())
    failures = FailureLog(total=len(items), allowed_share=None, reporter=runtime.reporter)
    blocks = list(embed_items(items, model=model, runtime=runtime, failures=failures))
    rows = {item.item_id: [] for item in items}
    for embeddings, _ in blocks:
        for item, row in zip(embeddings.items, embeddings.embedding, strict=True):
            rows[item.item_id].append(row)
    means = np.stack([np.mean(rows[item.item_id], axis=0) for item in items])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def give(item):
    return item.text if item.path is None else str(item.path)


@pytest.mark.parametrize("medium", MEDIA)
def test_each_route_gives_the_embeddings_of_items(medium, router, items, toy_run, toy_runtime):
    if medium is Medium.TEXT:
        texts = [each.text or each.path.read_text() for each in items[medium]]
        replaced = zip(items[medium], texts, strict=True)
        items = {medium: [dataclasses.replace(each, path=None, text=text) for each, text in replaced]}
    theirs = router.encode([give(item) for item in items[medium]])
    assert theirs == pytest.approx(embed_ours(items[medium], toy_run, toy_runtime), abs=1e-6)


def test_similarity_is_that_of_a_search(router, items):
    queries, found = (router.encode([give(item) for item in items[medium]]) for medium in (Medium.IMAGE, Medium.VIDEO))
    assert router.similarity(queries, found).numpy() == pytest.approx(queries @ found.T, abs=1e-6)
    assert router.get_embedding_dimension() == queries.shape[1]
    assert set(router.modalities) == {medium.value for medium in MEDIA}


def test_pictures_and_sounds_in_memory_are_as_their_files(router, items, tmp_path):
    photo, song = tmp_path / "photo.png", tmp_path / "song.wav"
    Image.open(items[Medium.IMAGE][0].path).save(photo)
    samples, rate = soundfile.read(items[Medium.AUDIO][0].path, dtype="float32")
    soundfile.write(song, samples, rate, subtype="FLOAT")
    with Image.open(photo) as picture:
        assert np.array_equal(router.encode(picture), router.encode(str(photo)))
    given = {"audio": {"array": samples, "sampling_rate": rate}}
    assert np.array_equal(router.encode(given), router.encode(str(song)))


def test_a_moved_and_saved_copy_is_complete(folder, router, items, tmp_path):
    router.save(str(tmp_path / "copy"), create_model_card=False)
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    again = SentenceTransformer(str(tmp_path / "moved"), trust_remote_code=True, device="cpu", local_files_only=True)
    text = give(items[Medium.TEXT][0])
    assert np.array_equal(again.encode(text), router.encode(text))


def test_folder_has_weights_once_and_no_code(folder):
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert [name for name in files if name.endswith(".safetensors")] == [f"{WEIGHTS_NAME}/model.safetensors"]
    assert not any(name.endswith((".py", ".pkl", ".bin", ".pt")) for name in files)
    types = json.loads((folder / "router_config.json").read_text())["types"]
    assert set(types.values()) == {"fieldmark.workflows.sentence_router.MediumModule"}
    assert "# " in (folder / "README.md").read_text()


def test_video_in_memory_is_refused_with_what_to_do(router):
    with pytest.raises(UnreadableMediaError, match=r"no path of a file.*Replace"):
        router.encode(np.zeros((4, 3, 32, 32), dtype=np.uint8), modality="video")
