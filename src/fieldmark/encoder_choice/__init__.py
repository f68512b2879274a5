"""Encoders that a user may choose by name or path: the known ones, those added, and the sections that describe them."""
