"""The verbs of `fieldmark data`, one file each."""
