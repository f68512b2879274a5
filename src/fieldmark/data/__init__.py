"""Manifests and taxonomies to batches: splits, sampling, features, shards."""
