"""`checkpoint export --onnx`: what ONNX Runtime gives is what torch gives, for both networks and any number of rows."""

import json

import numpy as np
import pytest
import torch

from fieldmark import Medium, train
from fieldmark.build import load_model
from fieldmark.config_file import load_config
from fieldmark.errors import CheckpointError, TrainingError
from fieldmark.workflows import export_checkpoint
from fieldmark.workflows.export_checkpoint import export_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")


def run_file(path, rows):
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(["embedding", "logits"], {"inputs": rows.numpy()})


def check_parity(report, model):
    """Rows that the export itself did not try, one and many."""
    generator = torch.Generator().manual_seed(11)
    for file in report.files:
        for row_count in (1, 5):
            if file.dtype == "uint8":
                high = 64 if file.medium is Medium.TEXT else 256
                rows = torch.randint(high, (row_count, *file.shape), dtype=torch.uint8, generator=generator)
            else:
                rows = torch.randn(row_count, *file.shape, generator=generator)
            embedding, logits = run_file(file.path, rows)
            with torch.inference_mode():
                expected = model.network(rows, file.medium)
            np.testing.assert_allclose(embedding, expected[0].numpy(), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(logits, expected[1].numpy(), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def exported_run(toy_run, tmp_path_factory):
    return export_onnx(toy_run, folder=tmp_path_factory.mktemp("onnx"))


@pytest.mark.slow
def test_exported_fgcrossnet_gives_what_torch_gives(exported_run, toy_run):
    assert [file.medium for file in exported_run.files] == list(Medium)
    check_parity(exported_run, load_model(toy_run, device=CPU))


@pytest.mark.slow
def test_export_is_described(exported_run, toy_run):
    described = json.loads((exported_run.folder / "export.json").read_text())
    model = load_model(toy_run, device=CPU)
    assert described["fingerprint"] == model.fingerprint
    assert described["class_names"] == list(model.class_names)
    assert described["files"]["text"] == {
        **described["files"]["text"],
        "file": "text.onnx",
        "dtype": "uint8",
        "shape": [64],
    }
    assert str(exported_run.folder) not in json.dumps(described)
    assert "differs from torch by at most" in exported_run.to_text()


@pytest.mark.slow
@pytest.mark.parametrize("trunk", [[], ["model.uniform_trunk=true"]], ids=["own_heads", "uniform_trunk"])
def test_exported_shared_space_gives_what_torch_gives(
    toy_manifest, toy_runtime, shared_space_files, tmp_path_factory, tmp_path, trunk
):
    config = load_config(shared_space_files / "config.toml", overrides=trunk)
    run = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime).run
    report = export_onnx(run, folder=tmp_path / "onnx")
    assert {file.medium: file.shape for file in report.files} == {
        Medium.IMAGE: (48,),
        Medium.TEXT: (256,),
        Medium.VIDEO: (48,),
    }
    check_parity(report, load_model(run, device=CPU))
    assert str(tmp_path_factory.getbasetemp()) not in (tmp_path / "onnx" / "export.json").read_text()


@pytest.mark.slow
def test_export_that_differs_is_not_written(exported_run, toy_run, tmp_path, monkeypatch):
    exported = onnx.load(exported_run.files[0].path)
    monkeypatch.setattr(export_checkpoint, "_to_onnx", lambda *_: exported)
    monkeypatch.setattr(export_checkpoint, "TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match=r"network for image differs .* Nothing was written"):
        export_onnx(toy_run, folder=tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_export_without_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        export_onnx(tmp_path / "nowhere", folder=tmp_path / "onnx")
