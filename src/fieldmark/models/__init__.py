"""Tensors to embeddings: encoders for each medium, and the networks that are trained."""
