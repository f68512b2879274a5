"""Fine-grained cross-media retrieval: photos, texts, videos and sounds of the same species, ranked together."""

from importlib import import_module
from typing import TYPE_CHECKING

from fieldmark._version import __version__

if TYPE_CHECKING:
    from fieldmark.config import Config
    from fieldmark.config_file import load_config
    from fieldmark.data.manifest import read_manifest, write_manifest
    from fieldmark.datasets.aviary.synthesize import synthesize
    from fieldmark.datasets.check import check
    from fieldmark.errors import FieldmarkError
    from fieldmark.runtime import Runtime
    from fieldmark.types import Embeddings, Hit, Item, Medium, Segment, Split
    from fieldmark.workflows.compare import compare
    from fieldmark.workflows.demo import run_demo
    from fieldmark.workflows.embed import embed
    from fieldmark.workflows.evaluate import evaluate
    from fieldmark.workflows.export_checkpoint import export_onnx
    from fieldmark.workflows.import_checkpoint import import_checkpoint
    from fieldmark.workflows.index import index
    from fieldmark.workflows.models import add_model, get_model, list_models
    from fieldmark.workflows.pretrained import from_pretrained, push_to_hub, save_pretrained
    from fieldmark.workflows.search import Gallery
    from fieldmark.workflows.train import train
    from fieldmark.workflows.verify import verify

__all__ = [
    "Config",
    "Embeddings",
    "FieldmarkError",
    "Gallery",
    "Hit",
    "Item",
    "Medium",
    "Runtime",
    "Segment",
    "Split",
    "__version__",
    "add_model",
    "check",
    "compare",
    "embed",
    "evaluate",
    "export_onnx",
    "from_pretrained",
    "get_model",
    "import_checkpoint",
    "index",
    "list_models",
    "load_config",
    "push_to_hub",
    "read_manifest",
    "run_demo",
    "save_pretrained",
    "synthesize",
    "train",
    "verify",
    "write_manifest",
]

_HOMES = {
    "config": ("Config",),
    "config_file": ("load_config",),
    "datasets.aviary.synthesize": ("synthesize",),
    "data.manifest": ("read_manifest", "write_manifest"),
    "errors": ("FieldmarkError",),
    "types": ("Embeddings", "Hit", "Item", "Medium", "Segment", "Split"),
    "workflows.export_checkpoint": ("export_onnx",),
    "workflows.import_checkpoint": ("import_checkpoint",),
    "workflows.compare": ("compare",),
    "datasets.check": ("check",),
    "workflows.demo": ("run_demo",),
    "workflows.embed": ("embed",),
    "runtime": ("Runtime",),
    "workflows.evaluate": ("evaluate",),
    "workflows.index": ("index",),
    "workflows.models": ("add_model", "get_model", "list_models"),
    "workflows.pretrained": ("from_pretrained", "push_to_hub", "save_pretrained"),
    "workflows.search": ("Gallery",),
    "workflows.train": ("train",),
    "workflows.verify": ("verify",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'fieldmark' has no attribute '{name}'")
    return getattr(import_module(f"fieldmark.{_HOME_OF[name]}"), name)
