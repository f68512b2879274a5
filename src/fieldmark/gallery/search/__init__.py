"""Scores -> how likely a hit, or the whole collection, is of the query's class."""
