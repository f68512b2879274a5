"""Bytes to tensors: one file for each medium, and the table of their loaders."""
