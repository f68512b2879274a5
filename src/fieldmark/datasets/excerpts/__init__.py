"""Raw media to items of a benchmark: stretches of sound, frames of videos, passages of texts."""
