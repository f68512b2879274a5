"""The species that classes stand for: by name, by a taxonomy, by a names map, or as encoders name the items."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from fieldmark.data.table import read_table
from fieldmark.data.taxonomy import Taxonomy, find_taxonomy_beside, read_taxonomy
from fieldmark.errors import ManifestError, list_faults, suggest_nearest
from fieldmark.names import KnownNames, Reason, Resolution
from fieldmark.types import Item

# ---------------------------------------------------------------- by name

_COLUMNS = ("class_name", "name")


@dataclass(frozen=True, slots=True)
class NameSources:
    """The sources, beside encoders, that tell which species a class stands for.

    Args:
        taxonomy: Further names of the classes.
        names_map: The names that somebody decided on, by class; none for a class that is to have no known name.
    """

    taxonomy: Taxonomy | None = None
    names_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_name_sources(manifest: Path, *, names_map: Path | None) -> NameSources:
    """Read the taxonomy beside a manifest, or in a gallery, if there is one, and a names map, if one is given.

    Raises:
        ManifestError: A file is broken.
    """
    taxonomy = find_taxonomy_beside(manifest if manifest.is_dir() else manifest.parent)
    return NameSources(
        read_taxonomy(taxonomy) if taxonomy.is_file() else None, read_names_map(names_map) if names_map else {}
    )


def read_names_map(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a table with the columns `class_name` and `name`; rows of one class add up, an empty name means none.

    Raises:
        ManifestError: It is no such table, or a row has no class.
    """
    table = read_table(path, known=_COLUMNS)
    if missing := [name for name in _COLUMNS if name not in table.names]:
        raise ManifestError(
            f"The names map '{path}' has no column '{missing[0]}', but {', '.join(table.names)}. Add that column.",
            kind="names_map",
        )
    found: dict[str, tuple[str, ...]] = {}
    for position, values in table.rows:
        cells = {name: value.strip() for name, value in zip(table.names, values, strict=False)}
        class_name, name = cells.get("class_name", ""), cells.get("name", "")
        if not class_name:
            raise ManifestError(f"The names map '{path}', {position}: no class_name. Give one.", kind="names_map")
        found[class_name] = (*found.get(class_name, ()), *((name,) if name else ()))
    return found


def resolve_classes(
    class_names: Sequence[str], known: KnownNames, *, sources: NameSources | None = None
) -> tuple[Resolution, ...]:
    """Return the species of each class, by its names alone.

    Raises:
        ManifestError: The names map has a class that is not there, or a name that is not known.
    """
    sources = sources or NameSources()
    _check_names_map(sources.names_map, class_names, known)
    by_class = {} if sources.taxonomy is None else {taxon.class_name: taxon for taxon in sources.taxonomy.taxa}
    resolutions = []
    for class_name in class_names:
        if class_name in sources.names_map:
            mapped = tuple(known.choose_name(name) or name for name in sources.names_map[class_name])
            resolutions.append(Resolution(class_name, mapped, Reason.MAPPED, 1.0))
            continue
        listed = None if sources.taxonomy is None else sources.taxonomy.class_named(class_name)
        taxon = by_class.get(listed or "")
        names = () if taxon is None else (taxon.class_name, *taxon.other_names)
        genera = () if sources.taxonomy is None or taxon is None else sources.taxonomy.genera_beside(taxon)
        resolutions.append(known.resolve(class_name, other_names=names, genera=genera))
    return tuple(resolutions)


def _check_names_map(names_map: Mapping[str, Sequence[str]], class_names: Sequence[str], known: KnownNames) -> None:
    faults = [
        f"no class is called '{name}'.{suggest_nearest(name, class_names)}"
        for name in names_map
        if name not in class_names
    ]
    faults += [
        f"no encoder knows '{name}', the name given for '{class_name}'"
        for class_name, names in names_map.items()
        for name in names
        if not known.find(name)
    ]
    if faults:
        raise ManifestError(
            f"The names map has {len(faults)} errors. Correct them, or delete the rows:\n{list_faults(faults)}",
            kind="names_map",
        )


def list_shared_names(resolutions: Iterable[Resolution]) -> dict[str, tuple[str, ...]]:
    """Return the names for which more than one class stands, each with its classes."""
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for each in resolutions:
        for name in each.names:
            classes[name].append(each.class_name)
    return {name: tuple(own) for name, own in classes.items() if len(own) > 1}


# ---------------------------------------------------------------- by agreement

_FEWEST_VOTES = 0.5
"""Least sum of a class's votes: a single group with this score is named right 95 times in 100, of fgbirds' training
photos and recordings. Any vote may choose among the candidates that the class's own name leaves."""
_FEWEST_OF_HALF = 1.5
"""Votes for each of two species that share a class: of two groups or more."""
_OPEN = 0.9
"""Confidence up to which items may say otherwise: that of a contained name."""
_AGREED, _HALF = 0.6, 0.25
"""Share of a class's votes that settles its name; and the least that each of two names has that share a class."""


@dataclass(frozen=True, slots=True)
class Votes:
    """The names that the encoder of one medium gives to items.

    Args:
        names: All that it can give.
        by_class: The votes of each class's origins of items, by the name that is the encoder's first choice. An origin
            votes with its mean score of that name, so that a sure one counts for more.
    """

    names: frozenset[str]
    by_class: Mapping[str, Mapping[str, float]]


def count_votes(
    items: Sequence[Item],
    features: Mapping[str, Tensor],
    *,
    origin: Int[np.ndarray, " item"],
    named_scores: Mapping[str, int],
    known: KnownNames,
) -> Votes:
    """Count the votes of one medium: each origin of items gives its class the name with the largest mean score.

    Args:
        features: Of each item's segments, by item id; scores as square roots of probabilities.
        origin: Number of each item's origin; see `number_origins`.
        named_scores: As an encoder has them.
    """
    name_by_column = {column: known.choose_name(name) or name for name, column in reversed(list(named_scores.items()))}
    columns = torch.tensor(list(name_by_column), dtype=torch.int64)
    names = list(name_by_column.values())
    scores: defaultdict[tuple[str, int], list[Tensor]] = defaultdict(list)
    for item, number in zip(items, origin.tolist(), strict=True):
        if item.class_name is not None and item.item_id in features:
            mean = features[item.item_id][:, columns].float().square().mean(dim=0)
            scores[item.class_name, number].append(mean)
    by_class: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (class_name, _), own in scores.items():
        score, index = torch.stack(own).mean(dim=0).max(dim=0)
        by_class[class_name][names[int(index)]] += float(score)
    return Votes(frozenset(names), {name: dict(own) for name, own in by_class.items()})


def settle_by_votes(
    resolutions: Sequence[Resolution], votes: Sequence[Votes], *, known: KnownNames
) -> tuple[Resolution, ...]:
    """Return the resolutions, those that names left open settled by how encoders name the items.

    A name that another class has by its spelling is not given twice, and one that contradicts the class's own name only
    becomes a candidate. A contained name that the items contradict becomes ambiguous.
    """
    taken = {name for each in resolutions if each.confidence > _OPEN for name in each.names}
    votes_by_class = {each.class_name: _sum_votes(each, votes) for each in resolutions}
    total: defaultdict[str, float] = defaultdict(float)
    for own in votes_by_class.values():
        for name, count in own.items():
            total[name] += count / sum(own.values())
    return tuple(
        _settle(each, votes_by_class[each.class_name], total=total, taken=taken, known=known)
        if each.confidence <= _OPEN and each.reason is not Reason.MAPPED
        else each
        for each in resolutions
    )


def _sum_votes(resolution: Resolution, votes: Sequence[Votes]) -> dict[str, float]:
    """Sum a class's votes over media; an encoder that knows none of its candidates can only name items wrong."""
    candidates = resolution.candidates
    told = [each for each in votes if not candidates or not each.names.isdisjoint(candidates)]
    total: defaultdict[str, float] = defaultdict(float)
    for each in told:
        for name, count in each.by_class.get(resolution.class_name, {}).items():
            total[name] += count
    return dict(total)


def _settle(
    resolution: Resolution,
    votes: Mapping[str, float],
    *,
    total: Mapping[str, float],
    taken: set[str],
    known: KnownNames,
) -> Resolution:
    first = _choose_names(votes, fewest=_FEWEST_VOTES if not resolution.candidates else 0.0)
    if not first or first == resolution.names:
        return resolution
    count = sum(votes.values())
    is_own = all(votes[name] / count > total[name] / 2 for name in first)  # not what other classes are called too
    if (
        not is_own
        or taken.intersection(first)
        or (resolution.candidates and not set(first) <= {*resolution.candidates})
    ):
        return resolution
    if resolution.is_resolved or not all(known.is_compatible(resolution.class_name, name) for name in first):
        candidates = tuple(dict.fromkeys((*resolution.names, *first)))
        return replace(resolution, names=(), reason=Reason.AMBIGUOUS, confidence=0.0, candidates=candidates)
    agreed = sum(votes[name] for name in first)
    return Resolution(resolution.class_name, first, Reason.AGREEMENT, (agreed + 1) / (count + 2))


def _choose_names(votes: Mapping[str, float], *, fewest: float) -> tuple[str, ...]:
    """Return the name that most votes agree on, or two that share nearly all; none where they do not agree."""
    count = sum(votes.values())
    if count < fewest or not votes:
        return ()
    (first, most), *others = sorted(votes.items(), key=lambda vote: -vote[1])[:2]
    if most / count >= _AGREED:
        return (first,)
    second, fewer = others[0]
    is_split = fewer >= _FEWEST_OF_HALF and fewer / count >= _HALF and (most + fewer) / count > 1 - _HALF
    return (first, second) if is_split else ()


def describe_resolutions(resolutions: Sequence[Resolution]) -> list[str]:
    """Return the lines that a person is to look at: all but names that are known as they are, and names met twice."""
    return [each.describe() for each in resolutions if not each.is_plain] + [
        f"{' and '.join(classes)} stand for one species, {name}; a taxonomy can merge them"
        for name, classes in list_shared_names(resolutions).items()
    ]
