"""A recording among minutes of noise, and a clip among empty frames: the mean of its segments beside the sure ones.

    fieldmark index ../shared/data/fgbirds/manifest_core.csv --gallery GALLERY --checkpoint RUN
    python benchmarks/pooling.py GALLERY ../shared/data/fgbirds/manifest_core.csv

Test items ask, each with some windows of noise or frames without a bird added to its own segments, and are pooled into
one query in two ways. The figure is the mean average precision (divided by all relevant items) among the photos.
Windows of noise are white, pink and a hum; frames are gray, sky, leaves that are drawn at random.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import fieldmark
from fieldmark import Gallery, Medium, Split
from fieldmark.embedding import embed_segments
from fieldmark.gallery.search.query import pool_segments
from fieldmark.gallery.store import Filter
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.types import AudioContent, Segment, VideoContent

ADDED = (0, 9, 39)
QUERIES = 150
KINDS = 30
"""Segments without a bird that are drawn from."""
SIDE_PIXELS = 224


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    gallery, generator = Gallery.open(arguments.gallery), np.random.default_rng(arguments.seed)
    encoder = ModelQueryEncoder(gallery.model)
    photos = gallery.index.embeddings(Filter(media=frozenset({Medium.IMAGE})))
    label = np.array([item.class_name for item in photos.items])
    items = [item for item in fieldmark.read_manifest(arguments.manifest) if item.split is Split.TEST]
    print("| query | added segments | MAP, mean of all | MAP, sure ones | queries |\n|---|---|---|---|---|")
    for medium in (Medium.AUDIO, Medium.VIDEO):
        own = [item for item in items if item.medium is medium]
        own = [own[index] for index in generator.permutation(len(own))[:QUERIES]]
        empty = embed_empty(gallery, medium, generator=generator)
        rows = [encoder.embed(item) for item in own]
        for count in ADDED:
            mixed = [np.concatenate([each, empty[generator.integers(0, len(empty), count)]]) for each in rows]
            means = [each.mean(axis=0) for each in mixed]
            pooled = [pool_segments(each, medium=medium, encoder=encoder) for each in mixed]
            plain, sure = (measure_map(queries, own, photos.embedding, label) for queries in (means, pooled))
            print(f"| {medium} | {count} | {plain:.3f} | {sure:.3f} | {len(own)} |", flush=True)


def embed_empty(
    gallery: Gallery, medium: Medium, *, generator: np.random.Generator
) -> Float[np.ndarray, "segment dim"]:
    """Return the embeddings of segments without a bird."""
    encoder = gallery.model.encoder(medium)
    if medium is Medium.AUDIO:
        rate = encoder.decoding.sample_rate_hz or 48_000
        length = round((encoder.decoding.segment_seconds or 3.0) * rate)
        contents = [AudioContent(make_noise(length, kind=kind, generator=generator), rate) for kind in range(KINDS)]
    else:
        contents = [VideoContent(make_frame(kind, generator=generator)) for kind in range(KINDS)]
    inputs = encoder.encode([Segment(content, start_seconds=0.0, end_seconds=3.0) for content in contents])
    return embed_segments(inputs, medium=medium, network=gallery.model.network)[0]


def make_noise(length: int, *, kind: int, generator: np.random.Generator) -> Float[Tensor, " time"]:
    """Return white noise, pink noise or a hum, of any loudness."""
    white = generator.standard_normal(length)
    if kind % 3 == 1:
        spectrum = np.fft.rfft(white)
        white = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), length)
    elif kind % 3 == 2:
        white = np.sin(np.arange(length) * generator.uniform(0.005, 0.05)) + 0.1 * white
    return torch.from_numpy(0.3 * generator.uniform(0.01, 1) * white / np.abs(white).max()).float()


def make_frame(kind: int, *, generator: np.random.Generator) -> Tensor:
    """Return one frame: of one color, of a sky that darkens, or of speckled leaves."""
    color = generator.integers(0, 256, size=3)
    frame = np.broadcast_to(color, (SIDE_PIXELS, SIDE_PIXELS, 3)).astype(np.float64)
    if kind % 3 == 1:
        frame = frame * np.linspace(1, 0.4, SIDE_PIXELS)[:, None, None]
    elif kind % 3 == 2:
        small = generator.integers(0, 256, size=(28, 28, 1)) * np.array([0.4, 0.8, 0.3])
        frame = np.kron(small, np.ones((8, 8, 1)))
    return torch.from_numpy(frame.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)[None]


def measure_map(
    queries: Sequence[np.ndarray], items: Sequence[fieldmark.Item], photos: np.ndarray, label: np.ndarray
) -> float:
    """Return the mean average precision of queries among photos."""
    found = []
    for query, item in zip(queries, items, strict=True):
        relevant = label[np.argsort(-(photos @ query), kind="stable")] == item.class_name
        if relevant.any():
            ranks = np.flatnonzero(relevant) + 1
            found.append(float((np.arange(1, len(ranks) + 1) / ranks).mean()))
    return float(np.mean(found))


if __name__ == "__main__":
    main()
