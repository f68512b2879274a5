"""A synthetic data set of invented birds in four media."""
