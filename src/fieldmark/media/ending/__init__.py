"""The end of a file: the size that it declares, the index that it lacks, an end that is missing."""
