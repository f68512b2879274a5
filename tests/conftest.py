"""Fixtures every room may use: the shared media, and one small four-media set with a run, embeddings and a gallery."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    # Imported in the fixtures: modules loaded before pytest is configured escape the check of tensor axes.
    from torch import Tensor

    from fieldmark import Config, Item, Medium, Runtime, Split
    from fieldmark.types import Outputs

pytest_plugins = ["encoder_files"]

# A time limit for each example would make the outcome depend on how busy the machine is. `scripts/check` asks for many.
settings.register_profile("many_examples", deadline=None, max_examples=50)
settings.register_profile("few_examples", deadline=None, max_examples=8)
settings.load_profile("few_examples")

# Files are written durably, and waiting for the disk took a tenth of the time. No test cuts the power.
os.fsync = lambda _: None

# Small tensors: on a loaded machine a second thread makes the tests many times slower.
torch.set_num_threads(1)

TOY_OVERRIDES = (
    "model.base_width=4",
    "model.resize_pixels=32",
    "model.crop_pixels=32",
    "model.text_width=32",
    "model.text_length=64",
    "model.max_frames=2",
    "data.classes_per_batch=3",
    "data.items_per_class=2",
    "train.epochs=2",
    "train.lr=2e-3",
)


LONGEST = ("workflows", "web", "gallery", "cli", "training")
"""Folders whose files take longest, in this order; they begin, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [*LONGEST, None]
    items.sort(key=lambda item: folders.index(item.path.parent.name if item.path.parent.name in LONGEST else None))


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real media and models that stands beside the checkout, where there is one."""
    folder = Path(os.environ.get("FIELDMARK_TEST_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared media are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def make_outputs() -> "Callable[..., Outputs]":
    """Makes outputs of rows whose embedding and logits are the same tensor, all of one medium unless told."""
    from fieldmark.types import Outputs

    def make(vectors: "Tensor", label: Sequence[int], *, medium: Sequence[int] | None = None) -> Outputs:
        return Outputs(
            embedding=vectors,
            logits=vectors,
            label=torch.tensor(label, dtype=torch.int64),
            medium=torch.tensor([0] * len(label) if medium is None else medium, dtype=torch.int64),
        )

    return make


@pytest.fixture(scope="session")
def value_and_gradient() -> "Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor | None]]":
    """Computes the value of a loss on some rows, and its gradient with respect to them."""

    def measure(function: "Callable[[Tensor], Tensor]", rows: "Tensor") -> "tuple[Tensor, Tensor | None]":
        rows = rows.clone().requires_grad_()
        value = function(rows)
        value.backward()
        return value.detach(), rows.grad

    return measure


@pytest.fixture(scope="session")
def toy_overrides() -> tuple[str, ...]:
    """What makes the preset `tiny` a matter of a second."""
    return TOY_OVERRIDES


@pytest.fixture(scope="session")
def toy_config(toy_overrides: tuple[str, ...]) -> "Config":
    """FGCrossNet at its smallest."""
    from fieldmark import load_config

    return load_config("tiny", overrides=toy_overrides)


@pytest.fixture(scope="session")
def toy_runtime(tmp_path_factory: pytest.TempPathFactory) -> "Runtime":
    """The CPU, and a feature cache of its own."""
    from fieldmark import Runtime

    return Runtime(cache=tmp_path_factory.mktemp("cache"), device="cpu")


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three species, six items of each in each medium, two of them test items."""
    from fieldmark import synthesize

    return synthesize(tmp_path_factory.mktemp("toy") / "aviary", class_count=3, items_per_medium=6, seed=1)


@pytest.fixture(scope="session")
def toy_run(toy_manifest: Path, toy_config: "Config", toy_runtime: "Runtime") -> Path:
    """FGCrossNet trained on the toy set. Only to be read."""
    from fieldmark import train

    return train(toy_manifest, out=toy_manifest.parents[1] / "run", config=toy_config, runtime=toy_runtime).run


@pytest.fixture(scope="session")
def toy_embeddings(toy_manifest: Path, toy_run: Path, toy_runtime: "Runtime") -> Path:
    """Embeddings of the test split. Only to be read."""
    from fieldmark import embed

    return embed(toy_manifest, checkpoint=toy_run, out=toy_run.with_name("embeddings"), runtime=toy_runtime).folder


@pytest.fixture(scope="session")
def toy_gallery(toy_manifest: Path, toy_run: Path, toy_runtime: "Runtime") -> Path:
    """A gallery of the whole toy set. Only to be read."""
    from fieldmark import index

    return index(toy_manifest, checkpoint=toy_run, gallery=toy_run.with_name("gallery"), runtime=toy_runtime).gallery


@pytest.fixture(scope="session")
def shared_space_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of the default model, and an encoder of pictures that gives the colors of a 4 x 4 grid."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("encoder")
    real = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("AveragePool", ["pixels"], ["grid"], kernel_shape=[4, 4], strides=[4, 4]),
        onnx.helper.make_node("Flatten", ["grid"], ["features"], axis=1),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "grid",
        [onnx.helper.make_tensor_value_info("pixels", real, ["batch", 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("features", real, ["batch", 48])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "grid.onnx")
    sizes = {"size": {"height": 16, "width": 16}, "crop_size": {"height": 16, "width": 16}}
    scale = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps({**sizes, **scale}), encoding="utf-8")
    (folder / "config.toml").write_text(
        """
        [model]
        kind = "shared_space"
        dim = 16
        hidden_dim = 32
        image = [{kind = "onnx_image", path = "grid.onnx"}]
        video = [{kind = "onnx_image", path = "grid.onnx"}]
        text = [{kind = "lexical_text", dim = 256}]

        [[losses]]
        kind = "classification"

        [[losses]]
        kind = "ranking"

        [data]
        classes_per_batch = 3
        items_per_class = 1

        [train]
        epochs = 4
        """,
        encoding="utf-8",
    )
    return folder


class ItemMaker:
    """Makes items with ids of their own, so that a test writes only what it is about."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, medium: "Medium | str" = "image", class_name: str | None = "Veery", **fields) -> "Item":
        from fieldmark import Item, Medium, Split

        medium = Medium(medium)
        self._count += 1
        item_id = fields.pop("item_id", f"{medium}/{self._count:04d}")
        values = {"path": self._folder / item_id, "split": Split.TRAIN, **fields}
        return Item(item_id=item_id, medium=medium, class_name=class_name, **values)


@pytest.fixture
def make_item(tmp_path: Path) -> ItemMaker:
    return ItemMaker(tmp_path)


class RecordingReporter:
    """Keeps what was said and how far each task came; may break off at a step."""

    def __init__(self, *, stop_at: tuple[str, int] | None = None) -> None:
        self.lines: list[str] = []
        self.done: dict[str, int] = {}
        self._stop_at = stop_at

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        self.done[task] = done
        if self._stop_at == (task, done):
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def make_reporter() -> Callable[..., RecordingReporter]:
    return RecordingReporter


@pytest.fixture(scope="session")
def toy_items(toy_manifest: Path) -> tuple["Item", ...]:
    from fieldmark import read_manifest

    return read_manifest(toy_manifest)


class BrokenFiles:
    """One item of each fault that a file can have; the end of its id says which."""

    kinds = {  # noqa: RUF012 - never changed
        "unreadable-photo": "unreadable",
        "empty-clip": "empty",
        "missing-song": "missing_file",
        "mismatched-photo": "medium_mismatch",
        "encoded-text": "unreadable",
    }

    def __init__(self, folder: Path, *, photo: "Item", song: "Item") -> None:
        self._folder = folder
        self._class_name = photo.class_name
        content = photo.path.read_bytes()
        (folder / "cut.jpg").write_bytes(content[: len(content) // 3])
        (folder / "empty.mp4").touch()
        shutil.copy(song.path, folder / "song.jpg")
        (folder / "koi8.txt").write_bytes("\u043c\u0443\u0445\u043e\u043b\u043e\u0432\u043a\u0430".encode("koi8-r"))

    def make(self, split: "Split") -> list["Item"]:
        """The items, in a split."""
        from fieldmark import Item, Medium

        files = {
            "unreadable-photo": (Medium.IMAGE, "cut.jpg"),
            "empty-clip": (Medium.VIDEO, "empty.mp4"),
            "missing-song": (Medium.AUDIO, "nowhere.wav"),
            "mismatched-photo": (Medium.IMAGE, "song.jpg"),
            "encoded-text": (Medium.TEXT, "koi8.txt"),
        }
        return [
            Item(f"{split}/{name}", medium, path=self._folder / file, class_name=self._class_name, split=split)
            for name, (medium, file) in files.items()
        ]


@pytest.fixture
def broken(tmp_path: Path, toy_items: tuple["Item", ...]) -> BrokenFiles:
    from fieldmark import Medium

    photo = next(item for item in toy_items if item.medium is Medium.IMAGE)
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    (tmp_path / "broken").mkdir()
    return BrokenFiles(tmp_path / "broken", photo=photo, song=song)


@pytest.fixture(scope="session")
def shared_space_config(shared_space_files: Path) -> "Config":
    """The default model at small size."""
    from fieldmark import load_config

    return load_config(shared_space_files / "config.toml")


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an engine on this machine, or of the one that FIELDMARK_TEST_MILVUS names."""
    pytest.importorskip("pymilvus")
    given = os.environ.get("FIELDMARK_TEST_MILVUS")
    if given:
        yield given
        return
    pytest.importorskip("milvus_lite")
    from milvus_engine import start_milvus_lite

    with start_milvus_lite(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture(scope="session", params=["memory", "s3", "gcs"])
def object_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a bucket: of fsspec's own store in memory, and of pretended ones of S3 and Google."""
    from object_stores import start_gcs, start_memory, start_s3

    starters = {"memory": start_memory, "s3": start_s3, "gcs": start_gcs}
    with starters[request.param]() as bucket:
        yield bucket
