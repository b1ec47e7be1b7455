"""A model exported once, for every hardware that reads ONNX.

``transformers.exporters`` does the work; this room adds what it lacks: the encoder of an encoder-decoder model and the image
side of a vision-language model for generation, and the parts of a multimodal forward that cannot be one graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import torch
from torch import Tensor
from transformers.exporters.base import ExportedComponent
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter
from transformers.exporters.metadata import ExportMetadata

from ..models.checkpoint import Checkpoint
from . import (  # noqa: F401 (what they replace is registered by their import)
    export_deepstack,
    export_experts,
    export_indexers,
    export_masks,
    export_pictures,
    export_positions,
    export_recurrences,
    export_series,
    export_texts,
    export_windows,
)
from .caches import CACHES
from .export_experts import batched_experts
from .export_graph import make_nothing_anew, restore_initializers
from .export_patches import as_before, patched, without_loss
from .export_shapes import Axes, only_varying, varying_axes
from .parts import (
    IN_PARTS,
    called_outside,
    calls_encoder,
    find_parts,
    first_and_last,
    inner_generator,
    is_transducer,
    late_decode,
    left_over,
    merges_features,
    multimodal_parts,
    of_encoder,
    own_forwards,
    path_of,
)

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
    with (
        warnings.catch_warnings(),
        patched(),
        own_forwards(checkpoint.model),
        without_loss(checkpoint.model),
        only_varying(inputs, axes),
        batched_experts(checkpoint.model),
        as_before(checkpoint.model),
    ):
        # torch's own copying of a tree specification; a user's run with -W error is not about it.
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*is deprecated", category=FutureWarning)
        return _export_generation(checkpoint, inputs) if generates else _export_forward(checkpoint, inputs)


def _export_forward(checkpoint: Checkpoint, inputs: Mapping[str, Tensor]) -> Program:
    model = checkpoint.model
    if not merges_features(model):
        return Program(checkpoint, {WHOLE: _export(model, inputs, "")}, inputs)
    parts = multimodal_parts(model, inputs)
    components = {name: _export(*part) for name, part in parts.items()}
    for path, arguments in left_over(model, inputs, [part.module for part in components.values()]).items():
        components[path] = _export(model.get_submodule(path), arguments, path)
    return Program(checkpoint, components, inputs, notes=(IN_PARTS,))


def _export_generation(checkpoint: Checkpoint, inputs: Mapping[str, Tensor]) -> Program:
    model = checkpoint.model
    if inner := inner_generator(model):
        return _export_inner_generation(checkpoint, inputs, inner)
    if is_transducer(model):
        calls = left_over(model, inputs, [], generates=True)
        computing = {path: _export(model.get_submodule(path), given, path) for path, given in calls.items()}
        return Program(checkpoint, computing, inputs, generates=True, notes=(IN_PARTS,))
    notes: tuple[str, ...] = ()
    arguments: dict[str, Any] = dict(inputs) | decoder_prompt(model, inputs)
    with late_decode(model):
        exported = _exporter().export_for_generation(model, arguments, _config())
    parts = find_parts(model, exported.components)
    if not _reads_a_cache(exported.components["decode"]):
        del parts["decode"]  # a model that keeps no cache: every step is a prefill of all that there is so far
    components = {name: _component(exported.components[name], path) for name, path in parts.items()}
    if model.config.is_encoder_decoder and not calls_encoder(model):
        encoder = model.get_encoder()
        components["encoder"] = _export(encoder, of_encoder(model, inputs), path_of(model, encoder))
    elif merges_features(model) or "prefill" not in components:
        notes = (IN_PARTS,)
        for name, part in multimodal_parts(model, inputs).items():
            if name not in components:
                components[name] = _export(*part)
        for path, arguments in left_over(model, inputs, [part.module for part in components.values()]).items():
            components[path] = _export(model.get_submodule(path), arguments, path)
    elif outside := called_outside(model, inputs):
        notes = (IN_PARTS,)
        components |= {path: _export(model.get_submodule(path), given, path) for path, given in outside.items()}
    return Program(checkpoint, components, inputs, generates=True, notes=notes)


def _export_inner_generation(checkpoint: Checkpoint, inputs: Mapping[str, Tensor], path: str) -> Program:
    """The stages of the language model at ``path`` that generates, and what a forward of the model does around it."""
    model = checkpoint.model
    inner = model.get_submodule(path)
    stages = first_and_last(model, inner, inputs)
    components = {name: _export(module, arguments, path) for name, (module, arguments) in stages.items()}
    for name, arguments in left_over(model, inputs, [path], generates=True).items():
        components[name] = _export(model.get_submodule(name), arguments, name)
    return Program(checkpoint, components, inputs, generates=True, notes=(IN_PARTS,))


def decoder_prompt(model: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Three tokens for the decoder of an encoder-decoder model that is given none of its own, as dia is, and pp_formulanet by
    the name of ``input_ids``: from its start token alone, torch.export takes the length of the past for the constant 1."""
    if not model.config.is_encoder_decoder or "decoder_input_ids" in inputs:
        return {}
    if "input_ids" in inputs and model.main_input_name != "input_ids":
        return {}
    start = model.config.decoder_start_token_id
    return {"decoder_input_ids": torch.tensor([[start, start + 1, start + 2]] * _batch(inputs))}


def _reads_a_cache(exported: ExportedComponent) -> bool:
    names = [str(value.name) for value in exported.program.graph.inputs]
    return any(name.removeprefix("input.").partition(".")[0] in CACHES for name in names)


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
    make_nothing_anew(model.graph)
    graphs: list[Any] = [model.graph, *model.functions.values()]
    for node in (node for graph in graphs for node in graph.all_nodes()):
        # Stack traces of this installation: they make the same model differ from machine to machine.
        node.metadata_props.clear()
    return Component(onnx_ir.to_proto(model).SerializeToString(), exported.metadata, path)
