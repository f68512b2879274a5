"""Marks of species: words read as marks, profiles of classes, and what items show of them."""
