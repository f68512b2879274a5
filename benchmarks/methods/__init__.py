"""What the paper compares with: common spaces of the literature, each learned from the same features as ours."""
