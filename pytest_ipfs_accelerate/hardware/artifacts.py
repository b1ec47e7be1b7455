"""Exported programs in the store: each graph under its CID, and a manifest that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

from torch import Tensor
from transformers.exporters.metadata import ExportMetadata

from ..models.checkpoint import Checkpoint
from ..store import Store
from .export import Component, Program

EXPORTERS = ("torch", "transformers", "onnx", "onnxscript", "onnx-ir")
"""Libraries on which it depends what an export gives."""

CODE = ("export*.py", "parts.py", "caches.py", "artifacts.py")
"""Files of this room on which it depends, too, in the manner of a shell."""


def source_key(checkpoint: Checkpoint, inputs: Mapping[str, Tensor], program: str) -> str:
    """The digest of what a program is made of: the weights, the inputs that are traced, what it is a program of (``program``),
    and the versions of what exports it."""
    traced = {name: [str(tensor.dtype), list(tensor.shape), _digest(tensor)] for name, tensor in inputs.items()}
    parts = [checkpoint.digest, program, traced, _exporter()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


@cache
def _exporter() -> tuple[dict[str, str], list[str]]:
    room = Path(__file__).parent
    files = sorted(path for pattern in CODE for path in room.glob(pattern))
    code = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return {name: version(name) for name in EXPORTERS}, code


def save_program(store: Store, program: Program) -> str:
    """Keep a program; the CID of its manifest."""
    components = {
        name: {"cid": store.put(component.onnx), "metadata": asdict(component.metadata), "module": component.module}
        for name, component in program.components.items()
    }
    manifest = {"components": components, "notes": list(program.notes)}
    return store.put(json.dumps(manifest, sort_keys=True).encode())


def load_program(
    store: Store, cid: str, checkpoint: Checkpoint, samples: Mapping[str, Tensor], *, generates: bool
) -> Program:
    """The program of a manifest, on the checkpoint and the samples that it was exported from.

    Raises:
        Missing: a part of it is not there.
        Damaged: a part of it is not what it was.
    """
    manifest = json.loads(store.get(cid))
    components = {
        name: Component(store.get(part["cid"]), ExportMetadata.from_dict(part["metadata"]), part["module"])
        for name, part in manifest["components"].items()
    }
    return Program(checkpoint, components, samples, generates, tuple(manifest["notes"]))
