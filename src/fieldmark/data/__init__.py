"""Files to batches: manifests, checks, splits, sampling, and the synthetic aviary."""
