"""Embeddings to hits: the store's contract and its implementations."""
