"""Plans to batches: what is read, what stands in for a bad file, what is kept in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.data.dataset import (
    BatchStream,
    CrossMediaDataset,
    FeatureReader,
    MediaReader,
    MediumRows,
    Reader,
    SegmentSource,
)
from fieldmark.data.sampler import BatchPlan, CrossMediaSampler
from fieldmark.errors import MissingFileError
from fieldmark.types import Item, Medium


class NumberSource(SegmentSource):
    """Two segments for each item, [id, 0] and [id, 1]; ids from `bad` cannot be read."""

    def __init__(self, *bad: int) -> None:
        self._bad = bad
        self.calls: list[int] = []

    def __call__(self, item: Item) -> torch.Tensor:
        number = int(item.item_id.split("/")[1])
        self.calls.append(number)
        if number in self._bad:
            raise MissingFileError(path=item.item_id)
        return torch.tensor([[number, 0.0], [number, 1.0]])


def rows_of(medium: Medium, label: list[int], source: SegmentSource, *, memory_bytes: int = 0) -> MediumRows:
    items = [Item(f"{medium}/{place}", medium, path=Path("x")) for place in range(len(label))]
    return MediumRows(
        items, np.array(label), MediaReader(items, source, memory_bytes=memory_bytes), np.arange(len(items))
    )


def plan_of(*rows: tuple[Medium, tuple[int, ...]], seed: int = 0) -> BatchPlan:
    return BatchPlan(rows=rows, seed=seed)


def test_dataset_reads_the_rows_of_a_plan():
    dataset = CrossMediaDataset({
        Medium.IMAGE: rows_of(Medium.IMAGE, [0, 0, 1], NumberSource()),
        Medium.TEXT: rows_of(Medium.TEXT, [1, 0], NumberSource()),
    })  # fmt: skip
    batch = dataset[plan_of((Medium.IMAGE, (2, 0)), (Medium.TEXT, (0, 1, 1)))]
    assert [part.medium for part in batch.parts] == [Medium.IMAGE, Medium.TEXT]
    assert [part.label.tolist() for part in batch.parts] == [[1, 0], [1, 0, 0]]
    assert batch.parts[0].inputs[:, 0].tolist() == [2.0, 0.0]
    assert batch.item_ids == ("image/2", "image/0", "text/0", "text/1", "text/1")
    assert batch.failures == ()


def test_dataset_draws_segments_by_the_plan_s_seed():
    dataset = CrossMediaDataset({Medium.IMAGE: rows_of(Medium.IMAGE, [0] * 20, NumberSource())})
    wanted = (Medium.IMAGE, tuple(range(20)))
    first, second, other = (dataset[plan_of(wanted, seed=seed)].parts[0].inputs for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert set(first[:, 1].tolist()) == {0.0, 1.0}


def test_dataset_takes_the_next_row_of_the_class_for_a_bad_file():
    dataset = CrossMediaDataset({Medium.IMAGE: rows_of(Medium.IMAGE, [0, 1, 0, 1, 0], NumberSource(2, 3))})
    batch = dataset[plan_of((Medium.IMAGE, (2, 3)))]
    assert batch.item_ids == ("image/4", "image/1")
    assert batch.parts[0].label.tolist() == [0, 1]
    assert [(failure.item_id, failure.kind) for failure in batch.failures] == [
        ("image/2", "missing_file"),
        ("image/3", "missing_file"),
    ]
    assert "There is no file" in batch.failures[0].message


def test_dataset_leaves_out_a_row_whose_class_has_no_other():
    dataset = CrossMediaDataset({
        Medium.IMAGE: rows_of(Medium.IMAGE, [0, 1], NumberSource(1)),
        Medium.AUDIO: rows_of(Medium.AUDIO, [1, 1], NumberSource(0, 1)),
    })  # fmt: skip
    batch = dataset[plan_of((Medium.IMAGE, (0, 1)), (Medium.AUDIO, (0,)))]
    assert [part.medium for part in batch.parts] == [Medium.IMAGE]
    assert batch.item_ids == ("image/0",)
    assert {failure.item_id for failure in batch.failures} == {"image/1", "audio/0", "audio/1"}


def test_dataset_of_nothing_but_bad_files_gives_an_empty_batch():
    dataset = CrossMediaDataset({Medium.IMAGE: rows_of(Medium.IMAGE, [0], NumberSource(0))})
    batch = dataset[plan_of((Medium.IMAGE, (0,)))]
    assert (batch.parts, batch.item_ids) == ((), ())
    assert len(batch.failures) == 1


def test_media_reader_keeps_what_fits_into_memory():
    source = NumberSource()
    reader = MediaReader(
        [Item(f"image/{n}", Medium.IMAGE) for n in range(3)], source, memory_bytes=2 * 16
    )  # fmt: skip
    for row in (0, 1, 2, 0, 1, 2):
        assert reader.read(row)[0, 0] == row
    assert source.calls == [0, 1, 2, 2]


def test_media_reader_without_memory_decodes_each_time():
    source = NumberSource()
    reader = MediaReader([Item("image/0", Medium.IMAGE)], source, memory_bytes=0)
    assert torch.equal(reader.read(0), reader.read(0))
    assert source.calls == [0, 0]


def test_media_reader_keeps_no_failure():
    reader = MediaReader([Item("image/0", Medium.IMAGE)], NumberSource(0), memory_bytes=1000)
    for _ in range(2):
        with pytest.raises(MissingFileError):
            reader.read(0)


def test_feature_reader_gives_what_it_was_given():
    features = [torch.rand(2, 3), torch.rand(1, 3)]
    reader = FeatureReader(features)
    assert isinstance(reader, Reader)
    assert reader.read(1) is features[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_stream_gives_the_same_batches_from_any_step_on(workers):
    label = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    sampler = CrossMediaSampler({Medium.TEXT: np.array(label)}, classes_per_batch=2, items_per_class=1, seed=3)
    dataset = CrossMediaDataset({Medium.TEXT: rows_of(Medium.TEXT, label, NumberSource())})
    stream = BatchStream(dataset, sampler, workers=workers, prefetch=2)
    whole = list(stream(1, 0))
    rest = list(stream(1, 3))
    assert len(whole) == len(stream)
    assert [batch.item_ids for batch in rest] == [batch.item_ids for batch in whole[3:]]
    assert all(
        torch.equal(one.parts[0].inputs, other.parts[0].inputs) for one, other in zip(rest, whole[3:], strict=True)
    )
    assert {item_id for batch in whole for item_id in batch.item_ids} == {f"text/{n}" for n in range(len(label))}
    assert [batch.item_ids for batch in stream(2, 0)] != [batch.item_ids for batch in whole]


def test_stream_reads_its_share_of_every_batch():
    label = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    sampler = CrossMediaSampler({Medium.TEXT: np.array(label)}, classes_per_batch=2, items_per_class=2, seed=3)
    dataset = CrossMediaDataset({Medium.TEXT: rows_of(Medium.TEXT, label, NumberSource())})
    for place in range(2):
        stream = BatchStream(dataset, sampler, workers=0, prefetch=2, share=(place, 2))
        wanted = [plan.share(place, of=2).rows[0][1] for plan in sampler.plan(0)]
        assert [batch.item_ids for batch in stream(0, 0)] == [tuple(f"text/{row}" for row in rows) for rows in wanted]


def test_stream_tells_of_every_failure_of_a_batch():
    label = [0, 0, 0, 0]
    sampler = CrossMediaSampler({Medium.TEXT: np.array(label)}, classes_per_batch=1, items_per_class=4, seed=3)
    dataset = CrossMediaDataset({Medium.TEXT: rows_of(Medium.TEXT, label, NumberSource(1, 2))})
    told = []
    [batch] = BatchStream(dataset, sampler, workers=0, prefetch=2, on_failure=told.append)(0, 0)
    assert tuple(told) == batch.failures
    assert {failure.item_id for failure in told} == {"text/1", "text/2"}
