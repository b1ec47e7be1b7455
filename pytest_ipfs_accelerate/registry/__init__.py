"""The registry: what exists, and the pinned tiny case of each.

It reads and validates ``model_registry.json``, a user's rows on top of it, and pipeline maps.
``python -m pytest_ipfs_accelerate.registry`` keeps it.
"""

from .pipeline_map import read_pipeline_map
from .rows import CATEGORIES, SCHEMA, merge, read_json
from .table import Registry, load_registry, shipped_registry

__all__ = [
    "CATEGORIES",
    "SCHEMA",
    "Registry",
    "load_registry",
    "merge",
    "read_json",
    "read_pipeline_map",
    "shipped_registry",
]
