"""Tensors to embeddings: the networks that are trained."""
