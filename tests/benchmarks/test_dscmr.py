"""The three terms of DSCMR, each by what the space becomes with and without it."""

import torch
from methods.dscmr import DSCMR

from fieldmark.types import Medium


def place(toy, **settings):
    space = DSCMR(dim=8, hidden_dim=32, steps=100, lr=5e-3, **settings).fit(toy, seed=0)
    return [space.ways[medium](toy[medium].features).detach() for medium in (Medium.IMAGE, Medium.TEXT)]


def test_invariance_brings_rows_of_one_class_together_across_media(make_toy):
    toy = make_toy()
    label = toy[Medium.IMAGE].label
    is_same = label[:, None] == label
    free, bound = (torch.cdist(*place(toy, invariance_weight=weight))[is_same].mean() for weight in (0.0, 1.0))
    assert bound < free


def test_likelihood_sets_classes_apart_in_direction(make_toy):
    toy = make_toy()
    label = toy[Medium.IMAGE].label

    def cosine_of_others(weight):
        image, text = (torch.nn.functional.normalize(rows, dim=1) for rows in place(toy, likelihood_weight=weight))
        return (image @ text.T)[label[:, None] != label].mean()

    assert cosine_of_others(10.0) < cosine_of_others(0.0)
