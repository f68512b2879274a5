"""The influence of each item of the gallery on each mean average precision: what the gallery's draw is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int, Int32, Int64
from torch import Tensor

from fieldmark.evaluation.sorted_keys import count_better_and_equal, count_equal, get_last_key, sort_rows

_BLOCK_PAIRS = 2**16
"""Pairs of a query and a gallery item that are looked up at once; what they need stays in the processor's cache."""

_BIN_BITS = 10
"""The keys of a query's relevant items are divided into this many bins, as a power of 2, to begin a search from."""


@dataclass(frozen=True, slots=True)
class InfluenceQueries:
    """Some queries whose influences are summed.

    Args:
        group: Sums are taken over the queries of each group, counted from 0.
        columns: For each part of the gallery, the columns of relevant items.
        is_there: Whether there is such a column; rows are padded.
    """

    group: Int[Tensor, " query"]
    group_count: int
    columns: Sequence[Int[Tensor, "query _"]]
    is_there: Sequence[Bool[Tensor, "query _"]]


def sum_influences(
    keys: Sequence[Int32[Tensor, "query _"]],
    sorted_keys: Sequence[Int32[Tensor, "query _"]],
    queries: InfluenceQueries,
) -> Float64[Tensor, "group gallery row"]:
    """Return the derivative of average precision by the weight of each gallery item, summed over groups of queries.

    With weights w, the average precision of a query is the mean over its relevant items r, weighted by w_r, of the
    weight of relevant items up to r over that of all items up to r. At weights of 1 its derivative by w_g is

        (1/R) ( [g relevant] (N_g + k_g / p_g - AP) - D_g ),  N_g = sum 1 / p_r,  D_g = sum k_r / p_r^2,

    the sums over the relevant items r from g on, with rank p_r and k_r relevant items up to r. Of tied items, half
    come first. An item that is excluded has 0.

    D_g depends on the number of relevant items before g alone. So this is all that is looked up for every pair of a
    query and an item; both of its values, as the item's part alone and the whole gallery have them, stand in one table.

    Args:
        keys: By part of the gallery; the lowest ranks first, and the last key is excluded.
        sorted_keys: The same, each row sorted.

    Returns:
        The gallery is, for each row, the part that it is in (0) and all parts together (1); rows of all parts follow
        each other.
    """
    picked = [
        own.gather(1, columns).masked_fill(~is_there, get_last_key(own))
        for own, columns, is_there in zip(keys, queries.columns, queries.is_there, strict=True)
    ]
    whole = _Needles(sort_rows(torch.cat(picked, dim=1)), sorted_keys)
    alone = [_Needles(sort_rows(own.clone()), [ordered]) for own, ordered in zip(picked, sorted_keys, strict=True)]
    total = _sum_losses(keys, whole, alone, queries)
    for own, needles, columns, sums in zip(picked, alone, queries.columns, total, strict=True):
        for gallery, each in enumerate((needles, whole)):
            gains = each.find_gains(own, is_beside=whole.is_tied)
            place = columns + queries.group[:, None] * sums.shape[2]
            flat = torch.zeros(len(sums) * sums.shape[2], dtype=torch.float64, device=own.device)
            sums[:, gallery] += flat.index_add_(0, place.flatten(), gains.flatten()).view(len(sums), -1)
    return torch.cat(total, dim=2)


class _Needles:
    """The relevant items of some queries, best first, in a gallery of some parts, and the sums that follow them.

    Args:
        keys: Sorted, padded with the last key.
    """

    def __init__(self, keys: Int32[Tensor, "query needle"], sorted_keys: Sequence[Int32[Tensor, "query _"]]) -> None:
        self.keys = keys
        is_there = keys < get_last_key(keys)
        better, equal = count_better_and_equal(sorted_keys, keys)
        self.is_tied: Bool[Tensor, " query"] = ((equal > 1) & is_there).any(dim=1)
        first = torch.searchsorted(keys, keys) if keys.shape[1] else better
        found = first + (count_equal(keys, keys, first) + 1).double() / 2 if keys.shape[1] else better.double()
        rank = better + (equal + 1).double() / 2
        self.count = is_there.sum(dim=1, keepdim=True).clamp_min(1)
        self.precision = torch.where(is_there, found / rank, 0.0)
        self.fall = torch.where(is_there, self.precision / rank, 0.0)
        self.rise = torch.where(is_there, 1 / rank, 0.0)
        self.falls_from = _sum_from(self.fall)

    def find_gains(
        self, picked: Int32[Tensor, "query item"], *, is_beside: Bool[Tensor, " query"]
    ) -> Float64[Tensor, "query item"]:
        """Return what each relevant item adds beside its loss as any other item has it; 0 for the last key.

        Args:
            is_beside: Whether it had the loss of an item beside the needle, and not before it.
        """
        if not self.keys.shape[1]:
            return torch.zeros(picked.shape, dtype=torch.float64, device=picked.device)
        first = torch.searchsorted(self.keys, picked)
        end = first + count_equal(self.keys, picked, first)
        own = first.clamp_max(self.keys.shape[1] - 1)
        rises_from = _sum_from(self.rise)
        gains = (rises_from.gather(1, first) + rises_from.gather(1, end)) / 2
        gains += torch.where(is_beside[:, None], self.rise - self.fall, self.rise).gather(1, own) / 2
        gains += self.precision.gather(1, own)
        gains -= self.precision.sum(dim=1, keepdim=True) / self.count
        return torch.where(picked < get_last_key(picked), gains / self.count, 0.0)

    def list_losses(self, keys: Int32[Tensor, "query needle"]) -> Float64[Tensor, "query step"]:
        """Return what an item loses that comes before each of some keys, beside it, and so on, and after the last.

        Args:
            keys: Sorted; those of these needles are among them.
        """
        before, after = torch.searchsorted(self.keys, keys), torch.searchsorted(self.keys, keys, right=True)
        losses = [torch.nn.functional.pad(self.falls_from.gather(1, after), (1, 0))]
        losses[0][:, 0] = self.falls_from[:, 0]
        beside = (self.falls_from.gather(1, before) + self.falls_from.gather(1, after)) / 2
        losses.append(torch.nn.functional.pad(beside, (0, 1)))
        return torch.stack(losses, dim=2).flatten(1) / -self.count


def _sum_losses(
    keys: Sequence[Int32[Tensor, "query _"]], whole: _Needles, alone: Sequence[_Needles], queries: InfluenceQueries
) -> list[Float64[Tensor, "group gallery _"]]:
    """Return what the items of each part lose by coming before relevant ones, summed over each group of queries."""
    # The loss in the part alone and that in the whole gallery are looked up as one complex number.
    of_whole = whole.list_losses(whole.keys)
    losses = [torch.complex(needles.list_losses(whole.keys), of_whole) for needles in alone]
    before = [each[:, ::2].contiguous() for each in losses]
    group_count, device = queries.group_count, of_whole.device
    total = [torch.zeros(group_count, 2 * own.shape[1], dtype=torch.float64, device=device) for own in keys]
    is_of_group = (queries.group == torch.arange(group_count, device=device)[:, None]).double()
    size = max(1, _BLOCK_PAIRS // max(own.shape[1] for own in keys))
    for start in range(0, len(of_whole) if whole.keys.shape[1] else 0, size):
        rows = slice(start, start + size)
        is_tied = whole.is_tied[rows, None] if whole.is_tied[rows].any() else None
        search = _Search(whole.keys[rows])
        for number, own in enumerate(keys):
            if is_tied is None:
                found = before[number][rows].gather(1, search.count_before(own[rows]))
            else:
                found = losses[number][rows].gather(1, search.count_steps(own[rows], is_tied=is_tied))
            total[number].addmm_(is_of_group[:, rows], torch.view_as_real(found).flatten(1))
    return [each.view(group_count, -1, 2).transpose(1, 2) for each in total]


class _Search:
    """A search by halves for all keys at once, among the sorted needles of each query.

    The keys are divided into bins. A search begins at the first needle of the key's bin, so it takes no more steps than
    the fullest bin asks for.
    """

    def __init__(self, needles: Int32[Tensor, "query needle"]) -> None:
        is_there = needles < get_last_key(needles)
        low = needles[:, :1]
        high = torch.where(is_there, needles, low).amax(dim=1, keepdim=True)
        width = int((high.long() - low.long()).max())
        self._shift = max(1, width.bit_length() - _BIN_BITS)  # after which a difference of keys fits their type
        low, high = low >> self._shift, high >> self._shift
        self._before_low = low - 1
        self._last_bin = int((high - low).max()) + 2  # bin 0 is before the first needle, and this after the last
        bins = self._find_bins(needles)
        count = torch.zeros(len(needles), self._last_bin + 1, dtype=torch.int64, device=needles.device)
        count.scatter_add_(1, bins, is_there.long())
        self._begin = count.cumsum(dim=1).sub_(count)
        most = int(count.max())
        self._needles = torch.nn.functional.pad(needles, (0, most + 1), value=get_last_key(needles))
        self._strides = [1 << bit for bit in reversed(range(most.bit_length()))]

    def _find_bins(self, keys: Int32[Tensor, "query row"]) -> Int64[Tensor, "query row"]:
        return (keys >> self._shift).sub_(self._before_low).clamp_(0, self._last_bin).long()

    def count_before(self, keys: Int32[Tensor, "query row"]) -> Int64[Tensor, "query row"]:
        """Return the number of needles that are less than each key."""
        found = self._begin.gather(1, self._find_bins(keys))
        for stride in self._strides:
            place = found if stride == 1 else found + (stride - 1)
            found.add_(self._needles.gather(1, place) < keys, alpha=stride)
        return found

    def count_steps(
        self, keys: Int32[Tensor, "query row"], *, is_tied: Bool[Tensor, "query 1"]
    ) -> Int64[Tensor, "query row"]:
        """Return twice that number, and one more for the keys of a tied query that equal a needle."""
        found = self.count_before(keys)
        is_beside = (self._needles.gather(1, found) == keys) & is_tied
        return found.mul_(2).add_(is_beside)


def _sum_from(values: Float64[Tensor, "query needle"]) -> Float64[Tensor, "query place"]:
    """Return the sum of each row's values from each one on, and 0 after the last."""
    return torch.nn.functional.pad(values.flip(1).cumsum(dim=1).flip(1), (0, 1))
