"""Losses that were tried beside the three constraints and did not help: no preset trains with them."""
