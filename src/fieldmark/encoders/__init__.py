"""Segments to tensors: a way into the network for each medium; never trained here."""
