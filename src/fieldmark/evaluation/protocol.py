"""Protocols: the rules of an evaluation, those of the published tables and ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fieldmark.evaluation.evaluated_items import ItemVector
from fieldmark.evaluation.few_words import AskedQuestion
from fieldmark.evaluation.near_ties import Ties
from fieldmark.leakage import Leak
from fieldmark.types import Split

ProtocolName = Literal["strict", "paper"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of an evaluation.

    Args:
        exclude_self: Whether a query that is in the gallery is excluded from it.
        drop_leaking: Whether items are left out that belong together with items of train; see `find_leaks`.
        skip_without_relevant: Whether a query without relevant items is left out of the mean, rather than counted as 0.
    """

    name: str
    vector: ItemVector
    ties: Ties
    exclude_self: bool
    drop_leaking: bool
    skip_without_relevant: bool


PAPER = Protocol(
    name="paper",
    vector=ItemVector.POSTERIOR,
    ties=Ties.GALLERY_ORDER,
    exclude_self=False,
    drop_leaking=False,
    skip_without_relevant=False,
)
"""The rules of the tables of He et al., ACM MM 2019; for comparison with published numbers only."""

STRICT = Protocol(
    name="strict",
    vector=ItemVector.EMBEDDING,
    ties=Ties.EXPECTED,
    exclude_self=True,
    drop_leaking=True,
    skip_without_relevant=True,
)
"""Ours: no help from the query itself, a leaking group or the order of the gallery."""

PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (PAPER, STRICT)}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an evaluation, which a receipt keeps.

    Args:
        split: The split to measure; None for test, or for all items where there are none of test.
        seed: Of the bootstrap.
        ranks: For genus and family, the name of each class; empty without a taxonomy.
        leaks: By the findings of a check, beside those that the embeddings know of.
        questions: Of a few marks each, with the classes that fit; none without a table of traits.
    """

    protocol: ProtocolName = "strict"
    split: Split | None = None
    seed: int = 0
    ranks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    leaks: tuple[Leak, ...] = ()
    questions: tuple[AskedQuestion, ...] = ()
