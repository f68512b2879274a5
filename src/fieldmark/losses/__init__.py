"""Embeddings and labels to a scalar: one file for each constraint."""
