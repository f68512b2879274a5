"""Common spaces of the literature that the paper compares with, each learned from the same features as ours."""
