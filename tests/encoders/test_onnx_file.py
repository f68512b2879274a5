"""The files that hold the weights of an ONNX graph."""

import numpy as np
import pytest

from fieldmark.encoders.encoder import find_form, hash_parameters
from fieldmark.encoders.onnx_file import find_external_files
from fieldmark.errors import EncoderFilesError
from product_parts import onnx_image_encoder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def save_outside(path, **options):
    """Write a graph again, its weights in files of their own."""
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, size_threshold=0, convert_attribute=True, **options)
    return path


def test_a_graph_with_its_weights_inside_has_no_other_files(make_onnx_file, tmp_path):
    assert find_external_files(make_onnx_file(tmp_path)) == []


@pytest.mark.parametrize("together", [True, False])
def test_find_external_files_finds_all(together, make_onnx_file, tmp_path):
    path = save_outside(
        make_onnx_file(tmp_path), all_tensors_to_one_file=together, location="w.data" if together else None
    )
    outside = {file for file in tmp_path.iterdir() if file.suffix not in (".onnx", ".json")}
    assert outside
    assert set(find_external_files(path)) == outside


def test_find_external_files_looks_into_constants_and_inner_graphs(tmp_path):
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    constant = onnx.numpy_helper.from_array(np.ones(3, dtype=np.float32), "one")
    onnx.external_data_helper.set_external_data(constant, location="inner.bin")
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["x"], value=constant)],
        "inner", [], [helper.make_tensor_value_info("x", real, [3])],
    )  # fmt: skip
    chosen = helper.make_node("If", ["is"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [chosen], "outer", [helper.make_tensor_value_info("is", onnx.TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", real, [3])],
    )  # fmt: skip
    path = tmp_path / "nested.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert find_external_files(path) == [tmp_path / "inner.bin"]


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x3a\xff\x01abc"])
def test_find_external_files_refuses_what_is_no_graph(content, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(EncoderFilesError, match="no ONNX graph"):
        find_external_files(path)


def test_other_weights_outside_the_graph_are_another_encoder(make_onnx_file, tmp_path):
    one = save_outside(make_onnx_file(tmp_path / "one", seed=0), location="tiny.onnx.data")
    two = save_outside(make_onnx_file(tmp_path / "two", seed=1), location="tiny.onnx.data")
    assert one.read_bytes() == two.read_bytes(), "the graphs are the same"
    first, second = onnx_image_encoder(one), onnx_image_encoder(two)
    assert first.fingerprint != second.fingerprint
    assert first.facts.files["the weights in 'tiny.onnx.data'"] != second.facts.files["the weights in 'tiny.onnx.data'"]


def test_a_checkpoint_that_knows_the_graph_alone_is_still_taken(make_onnx_file, tmp_path):
    inside = onnx_image_encoder(make_onnx_file(tmp_path))
    path = save_outside(tmp_path / "tiny.onnx", location="tiny.onnx.data")
    encoder = onnx_image_encoder(path)
    facts = {name: encoder.facts.parameters[name] for name in ("kind", "output", "preprocessing", "decoding")}
    earlier = hash_parameters({name: Shown(value) for name, value in facts.items()}, files=[path])
    assert find_form(encoder, earlier) is encoder
    assert find_form(encoder, encoder.fingerprint) is encoder
    assert find_form(encoder, inside.fingerprint) is None
    assert find_form(inside, earlier) is None


class Shown:
    """Has the given text for its `repr`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
