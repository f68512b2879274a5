"""Run folders: which checkpoint a path means."""

import pytest

from fieldmark.training.layout import PretrainedLayout, RunLayout, find_checkpoint


@pytest.mark.parametrize(
    ("present", "expected"), [((), "best"), (("saved",), "saved"), (("best",), "best"), (("saved", "best"), "best")]
)
def test_find_checkpoint_takes_the_best_of_a_run_before_a_saved_model(present, expected, tmp_path):
    paths = {"best": RunLayout(tmp_path).best, "saved": PretrainedLayout(tmp_path).checkpoint}
    for name in present:
        paths[name].parent.mkdir(exist_ok=True)
        paths[name].touch()
    assert find_checkpoint(tmp_path) == paths[expected]


def test_find_checkpoint_takes_a_file_as_it_is(tmp_path):
    assert find_checkpoint(tmp_path / "other.safetensors") == tmp_path / "other.safetensors"


def test_run_layout_keeps_the_names_that_older_runs_have(tmp_path):
    layout = RunLayout(tmp_path)
    paths = (layout.config, layout.run_info, layout.metrics, layout.best, layout.last, layout.stage("c"))
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "config.toml",
        "receipt.json",
        "metrics.csv",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "checkpoints/stage-c.safetensors",
    ]
