"""The differences between a receipt and what is there now."""

from fieldmark.evaluation.verification import Cause, compare_values


def test_compare_values_yields_what_is_new_as_well_as_what_is_gone():
    old, new = {"kept": 1, "gone": {"inner": 2}}, {"kept": 1, "new": [3]}
    found = [(d.name, d.expected, d.found) for d in compare_values(Cause.CONFIG, old, new)]
    assert found == [("gone.inner", 2, None), ("new.0", None, 3)]
