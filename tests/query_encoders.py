"""A stand-in for the model of a gallery, of which each test says only what it is about."""

import numpy as np

from fieldmark.types import MediaLimits, Medium


class PlainQueryEncoder:
    """Was trained on all media, compares all of them, and knows no names."""

    class_names: tuple[str, ...] = ()
    resolutions = ()
    fingerprint = "fake"
    limits = MediaLimits()
    name_weight = None
    learned_media = frozenset(Medium)

    def embed(self, item):
        raise AssertionError(f"'{item}' is embedded, which this test does not ask for")

    def measure_sureness(self, embedding, *, medium):
        return np.ones(len(embedding))

    def get_overlap_weight(self, query, hit):
        return None

    def is_covered(self, embedding):
        return True

    def can_compare(self, query, hit):
        return True

    def has_names(self, embedding):
        return True

    def can_compare_looks(self, first, second):
        return False

    def score_species(self, embedding, *, medium):
        return None

    def embed_class_name(self, class_name, *, other_names=()):
        return None

    def embed_texts(self, items):
        return {}

    def named_species(self, medium):
        return ()

    def knows_words(self, words):
        return None
