"""A model exported once, for every hardware that reads ONNX.

``transformers.exporters`` does the work; this room adds what it lacks: the encoder of an encoder-decoder model and the image
side of a vision-language model for generation, and the parts of a multimodal forward that cannot be one graph.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.exporters.base import ExportedComponent
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.utils import (
    _capture_forward,
    _find_multimodal_submodules,
    decompose_multimodal,
    is_multimodal,
)

from ..models.checkpoint import Checkpoint
from .export_patches import patched, without_loss
from .export_shapes import Axes, only_varying, varying_axes
from .generate import CACHES

IN_PARTS = "exported in parts; torch looks tokens up and places the image features"

WHOLE = "model"
"""Name of the one component of a program that is a single graph."""


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One exported graph: the bytes of its ONNX file, what the exporter recorded, and the path of the module that it
    replaces (empty for the whole model)."""

    onnx: bytes
    metadata: ExportMetadata
    module: str


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A checkpoint exported for one way of calling it. ``samples`` are the inputs that it was exported from, a batch of two;
    ``generates`` says whether it is called to generate, or forward."""

    checkpoint: Checkpoint
    components: Mapping[str, Component]
    samples: Mapping[str, Tensor]
    generates: bool = False
    notes: tuple[str, ...] = field(default=())
    """What a reader of the verdict must know of how it was exported."""

    @property
    def whole(self) -> bool:
        """Whether one graph is the whole forward, with no code of torch around it."""
        return set(self.components) == {WHOLE}


def export_program(
    checkpoint: Checkpoint, inputs: Mapping[str, Tensor], *, generates: bool, varying: Axes | None = None
) -> Program:
    """Export ``checkpoint`` with dynamic shapes, from a batch of two ``inputs``, whose sizes vary along every axis or those of
    ``varying``.

    Raises:
        Exception: whatever the exporter raises; the runner names the stage.
    """
    axes = varying if varying is not None else varying_axes(inputs, [{}])
    with warnings.catch_warnings(), patched(), without_loss(checkpoint.model), only_varying(inputs, axes):
        # torch's own copying of a tree specification; a user's run with -W error is not about it.
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*is deprecated", category=FutureWarning)
        return _export_generation(checkpoint, inputs) if generates else _export_forward(checkpoint, inputs)


def _export_forward(checkpoint: Checkpoint, inputs: Mapping[str, Tensor]) -> Program:
    model = checkpoint.model
    if not merges_features(model):
        return Program(checkpoint, {WHOLE: _export(model, inputs, "")}, inputs)
    parts = _multimodal_parts(model, inputs)
    components = {name: _export(*part) for name, part in parts.items()}
    for path, arguments in left_over(model, inputs, [part.module for part in components.values()]).items():
        components[path] = _export(model.get_submodule(path), arguments, path)
    return Program(checkpoint, components, inputs, notes=(IN_PARTS,))


def _export_generation(checkpoint: Checkpoint, inputs: Mapping[str, Tensor]) -> Program:
    model = checkpoint.model
    notes: tuple[str, ...] = ()
    arguments: dict[str, Any] = dict(inputs)
    if model.config.is_encoder_decoder:
        # Two decoder tokens: from one, torch.export takes the length of the past for the constant 1.
        start = model.config.decoder_start_token_id
        arguments["decoder_input_ids"] = torch.tensor([[start, start + 1, start + 2]] * _batch(inputs))
    exported = _exporter().export_for_generation(model, arguments, _config())
    parts = _find_parts(model, exported.components)
    if not _reads_a_cache(exported.components["decode"]):
        del parts["decode"]  # a model that keeps no cache: every step is a prefill of all that there is so far
    components = {name: _component(exported.components[name], path) for name, path in parts.items()}
    if model.config.is_encoder_decoder:
        encoder = model.get_encoder()
        components["encoder"] = _export(encoder, inputs, _path(model, encoder))
    elif merges_features(model):
        notes = (IN_PARTS,)
        for name, part in _multimodal_parts(model, inputs).items():
            if name not in components:
                components[name] = _export(*part)
        for path, arguments in left_over(model, inputs, [part.module for part in components.values()]).items():
            components[path] = _export(model.get_submodule(path), arguments, path)
    return Program(checkpoint, components, inputs, generates=True, notes=notes)


def merges_features(model: PreTrainedModel) -> bool:
    """Whether a model puts the features of a picture or sound among the embeddings of its text, at a token of their own. How
    many there are depends on the input, so that such a forward is exported in parts; a contrastive model, with two towers
    side by side, is one graph."""
    tokens = ("image_token_id", "audio_token_id", "video_token_id")
    merging = (part for part in model.modules() if isinstance(part, PreTrainedModel) and is_multimodal(part))
    return any(getattr(part.config, token, None) is not None for part in merging for token in tokens)


def outermost(paths: Mapping[str, str]) -> dict[str, str]:
    """Of the paths of parts those that lie in no other one, each once: ``decompose_multimodal`` names the encoder of t5gemma2
    for pictures and again for sound, and idefics' tower for pictures beside the language model that holds it."""
    kept: dict[str, str] = {}
    for name, path in sorted(paths.items(), key=lambda item: len(item[1])):
        if not _touches(path, kept.values(), below=False):
            kept[name] = path
    return {name: path for name, path in paths.items() if name in kept}


def _multimodal_parts(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, tuple[nn.Module, Any, str]]:
    """For each part of a multimodal forward its module, the arguments of its call and its path."""
    parts = decompose_multimodal(model, dict(inputs))
    paths = outermost({name: _path(model, part) for name, (part, _) in parts.items()})
    return {name: (*parts[name], path) for name, path in paths.items()}


def _reads_a_cache(exported: ExportedComponent) -> bool:
    names = [str(value.name) for value in exported.program.graph.inputs]
    return any(argument in name for name in names for argument in CACHES)


def left_over(model: nn.Module, inputs: Mapping[str, Any], taken: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The modules that the known parts of a multimodal model leave to torch though they multiply by a matrix, such as the head
    of a classifier: the largest that hold none of these parts and look no token up, by path, with the arguments of their
    call."""
    found = {
        path: module
        for path, module in model.named_modules()
        if path and _multiplies(module) and not _touches(path, taken) and not _looks_up(module)
    }
    largest = {
        path: module for path, module in found.items() if not _touches(path.rpartition(".")[0], found, below=False)
    }
    with ExitStack() as stack, torch.no_grad():
        calls = {path: stack.enter_context(_capture_forward(module)) for path, module in largest.items()}
        model(**copy.deepcopy(dict(inputs)))
    return {path: arguments[-1] for path, arguments in calls.items() if arguments}


def _multiplies(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


def _looks_up(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Embedding) for part in module.modules())


def _touches(path: str, others: Iterable[str], *, below: bool = True) -> bool:
    """Whether ``path`` is one of the others or lies inside one; with ``below`` also whether one lies inside it."""
    inside = any(path == other or path.startswith(f"{other}.") for other in others)
    return inside or (below and any(other.startswith(f"{path}.") for other in others))


def _find_parts(model: PreTrainedModel, components: Mapping[str, Any]) -> dict[str, str]:
    """For each component of a generation, the path of the module that it replaces."""
    modules = _find_multimodal_submodules(model)
    stages = {name: "" for name in components if name in ("prefill", "decode")}
    return stages | outermost({name: _path(model, modules[name]) for name in components if name not in stages})


def _path(model: nn.Module, part: nn.Module) -> str:
    paths: Iterator[str] = (path for path, module in model.named_modules() if module is part)
    return next(paths)


def _batch(inputs: Mapping[str, Tensor]) -> int:
    return int(next(iter(inputs.values())).shape[0])


def _exporter() -> OnnxExporter:
    return OnnxExporter()  # type: ignore[no-untyped-call]


def _config() -> OnnxConfig:
    return OnnxConfig(dynamic=True)


def _export(module: Any, inputs: Mapping[str, Any], path: str) -> Component:
    # The exporter changes its sample inputs in place.
    exported = _exporter().export(module, dict(inputs), _config())
    return _component(exported.components[WHOLE], path)


def _component(exported: ExportedComponent, path: str) -> Component:
    model: onnx_ir.Model = exported.program
    restore_initializers(model.graph)
    graphs: list[Any] = [model.graph, *model.functions.values()]
    for node in (node for graph in graphs for node in graph.all_nodes()):
        # Stack traces of this installation: they make the same model differ from machine to machine.
        node.metadata_props.clear()
    return Component(onnx_ir.to_proto(model).SerializeToString(), exported.metadata, path)


def restore_initializers(graph: onnx_ir.Graph) -> int:
    """Register the constants that nodes read and the graph does not hold; how many they were.

    onnxscript 0.7.2 names the bounds of a clip after what is clipped. Where one value is clipped twice the second constant
    takes the first one's place among the initializers, and ONNX Runtime refuses the graph.
    """
    restored = 0
    for node in graph.all_nodes():
        for value in node.inputs:
            if value is None or value.const_value is None or value.producer() is not None:
                continue
            name = value.name or ""
            if graph.initializers.get(name) is value or value.graph is not None:
                continue
            if name in graph.initializers:
                value.name = f"{value.name}_restored_{restored}"
            graph.register_initializer(value)
            restored += 1
    return restored
