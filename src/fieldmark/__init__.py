"""Fine-grained cross-media retrieval: photos, texts, videos and sounds of the same species, ranked together."""

__version__ = "0.1.0"
