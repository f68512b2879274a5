"""Each defect of the released code (He et al., ACM MM 2019) is an option whose default is the repair."""

from collections.abc import Callable

import pytest

from fieldmark import Config, load_config
from fieldmark.build import build_schedule
from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.protocol import PAPER, STRICT

Read = Callable[[Config], object]


def kind_of(place: int) -> Read:
    return lambda config: config.losses[place].kind


# defect: what of the configuration it is, as repaired, as released
OPTIONS: dict[str, tuple[Read, object, object]] = {
    "3 lists zipped to the shortest, not shuffled": (lambda config: config.data.order, "classes", "lists"),
    "4 no cross-media positives": (lambda config: config.data.order, "classes", "lists"),
    "5 one hinge on raw logits": (kind_of(2), "ranking", "released_ranking"),
    "7 centers keep their random start": (kind_of(1), "center", "released_center"),
    "7 centers start anew in stage r": (lambda config: config.stages[2].keep_centers, True, False),
    "8 a rate that halves every 3 epochs": (lambda config: config.train.schedule, "cosine", "step"),
    "3 each listed frame is a row": (lambda config: config.data.frame_rows, False, True),
    "9 common batch norm": (lambda config: config.model.statistics_per_medium, True, False),
    "10 text without spaces": (lambda config: config.model.released_text, False, True),
    "10 zeros before training texts": (lambda config: config.model.released_zeros, False, True),
    "13 spectrograms in colors": (lambda config: config.model.released_sound, False, True),
    "13 spectrograms are cropped": (lambda config: config.model.crop_spectrograms, False, True),
    "14 no validation": (lambda config: config.data.validation_share > 0, True, False),
    "15 logits are the embedding": (lambda config: config.model.embedding, "features", "logits"),
}
FAULTS = {
    "1 does not start": "nothing to compare",
    "2 rows of several GPUs get labels of others": "rows carry their label and medium; tests/training/test_group.py",
    "6 O(n^4) memory": "the sum is the same; tests/losses/test_ranking.py",
    "11 sizes are one number": "independent; common statistics alone need them equal; tests/test_config.py",
    "12 a video of fewer frames shifts the rows": "items are named; tests/evaluation/test_protocol.py",
    "16 ties resolve by place": "a matter of the protocol; see below",
}


@pytest.mark.parametrize("defect", OPTIONS)
def test_defect_is_an_option_whose_default_is_the_repair(defect):
    read, repaired, released = OPTIONS[defect]
    assert read(load_config("fgcrossnet")) == repaired
    assert read(load_config("fgcrossnet_released")) == released


def test_every_defect_of_the_table_is_an_option_or_said_to_be_none():
    assert {int(defect.split()[0]) for defect in [*OPTIONS, *FAULTS]} == set(range(1, 17))


def test_defaults_of_the_classes_are_repairs():
    config = load_config("tiny")  # a preset that names none of the options
    assert (config.data.order, config.train.step_early, config.stages) == ("classes", False, ())
    assert (config.model.crop_spectrograms, config.model.released_text) == (False, False)
    assert not config.model.resize_once
    assert (config.model.statistics_per_medium, config.model.embedding) == (True, "features")
    assert config.all_stages[0].keep_centers


def test_the_released_rate_is_that_of_torch_1_0():
    # There `scheduler.step()` at the start of an epoch sets the rate of that epoch, and the first step changes nothing.
    config = load_config("fgcrossnet_released")
    schedule = build_schedule(config.train)
    rates = [config.train.lr * schedule.compute_factor(epoch, steps_per_epoch=1, step_count=50) for epoch in range(50)]
    assert rates == [1e-3 * 0.5 ** (epoch // 3) for epoch in range(50)]
    assert rates[:4] == [1e-3, 1e-3, 1e-3, 5e-4]
    assert rates[20] == 1.5625e-5


def test_ties_resolve_by_place_in_the_paper_s_protocol_alone():
    assert (PAPER.ties, STRICT.ties) == (Ties.GALLERY_ORDER, Ties.EXPECTED)


@pytest.mark.parametrize("preset", ["fgcrossnet", "fgcrossnet_released"])
def test_stages_are_those_of_the_paper(preset):
    config = load_config(preset)
    kinds = [loss.kind for loss in config.losses]
    assert [(stage.name, stage.media, stage.losses) for stage in config.stages] == [
        ("0", ("image",), ("classification",)),
        ("c", None, tuple(kinds[:2])),
        ("r", None, None),
    ]
