"""Find and clean the problems of a data set: unusable files, duplicates, leakage."""
