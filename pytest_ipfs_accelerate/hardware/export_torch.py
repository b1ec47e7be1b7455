"""A model in the parts that are exported, for hardware that reads torch's own ExportedProgram at fixed shapes.

The parts are those of :mod:`.export`. They are traced when they are called, with the arguments of that call: a trace at fixed
shapes takes 0.5 s where one with free dimensions takes 2 to 4 s and has to be traced once more for the hardware, and nothing
has to be kept of it but what the hardware makes of it. torch can save an ExportedProgram, but not without pickle.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.utils import _pytree as pytree
from transformers.exporters import exporter_dynamo
from transformers.exporters.configs import DynamoConfig
from transformers.exporters.exporter_dynamo import (
    DynamoExporter,
    is_cache_object,
    register_cache_pytrees_for_model,
    register_pytree_node,
)
from transformers.exporters.metadata import ExportMetadata, record_output_structure
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import (
    decompose_for_generation,
    patch_attribute,
    patch_model_outputs,
    prepare_for_export,
)

from ..models.checkpoint import Checkpoint
from .caches import in_decode
from .export import WHOLE
from .export_experts import batched_experts
from .export_inputs import prepared_as_taken
from .export_patches import as_before, patched, without_loss
from .generate import STAGES
from .parts import (
    IN_PARTS,
    called_outside,
    calls_encoder,
    decompose_multimodal,
    first_and_last,
    inner_generator,
    is_transducer,
    late_decode,
    left_over,
    merges_features,
    of_encoder,
    outermost,
    own_forwards,
    path_of,
)


@dataclass(frozen=True, slots=True, eq=False)
class TorchComponent:
    """A module that is exported when it is called: its path in the model ``root`` (empty for the whole), the names of the
    arguments that the export takes and what they are (``metadata``), and the flags of its call, such as ``use_cache``."""

    model: nn.Module
    module: str
    metadata: ExportMetadata
    flags: Mapping[str, Any]
    root: nn.Module


@dataclass(frozen=True, slots=True, eq=False)
class TorchProgram:
    """A checkpoint in the components of one way of calling it. ``key`` is the digest of what it is made of."""

    checkpoint: Checkpoint
    components: Mapping[str, TorchComponent]
    key: str
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether one graph is the whole forward, with no code of torch around it."""
        return set(self.components) == {WHOLE}


def torch_program(
    checkpoint: Checkpoint, inputs: Mapping[str, Tensor], *, generates: bool, key: str = ""
) -> TorchProgram:
    """The components of ``checkpoint``, found by a call with a batch of two ``inputs``."""
    model = checkpoint.model
    parts: dict[str, tuple[nn.Module, dict[str, Any]]] = {WHOLE: (model, dict(inputs))}
    with own_forwards(model), without_loss(model):
        if generates:
            parts = _generation(model, inputs)
        elif merges_features(model):
            parts = _multimodal(model, inputs, {})
        components = {
            name: _component(model, module, name, copy.deepcopy(arguments))
            for name, (module, arguments) in parts.items()
        }
    around = not model.config.is_encoder_decoder and components.keys() - {WHOLE, *STAGES}
    return TorchProgram(checkpoint, components, key, (IN_PARTS,) if around else ())


def _generation(model: Any, inputs: Mapping[str, Tensor]) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    if path := inner_generator(model):
        stages = first_and_last(model, model.get_submodule(path), inputs)
        return stages | _modules(model, left_over(model, inputs, [path], generates=True))
    if is_transducer(model):
        return _modules(model, left_over(model, inputs, [], generates=True))
    with late_decode(model):
        found = decompose_for_generation(model, dict(inputs))
    # A stage may come as a stand-in for the model, with a forward of its own.
    parts = {name: (model if name in STAGES else part, arguments) for name, (part, arguments) in found.items()}
    _, decode = parts["decode"]
    if not in_decode(decode):
        del parts["decode"]  # a model that keeps no cache: every step is a prefill of all that there is so far
    if model.config.is_encoder_decoder and not calls_encoder(model):
        return _outermost(model, parts) | {"encoder": (model.get_encoder(), of_encoder(model, inputs))}
    if merges_features(model) or "prefill" not in parts:
        return _multimodal(model, inputs, parts)
    return _outermost(model, parts) | _modules(model, called_outside(model, inputs))


def _multimodal(
    model: Any, inputs: Mapping[str, Tensor], parts: Mapping[str, tuple[nn.Module, dict[str, Any]]]
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """``parts``, those of a forward that they lack, and what these leave over."""
    found = _outermost(model, {**decompose_multimodal(model, inputs), **parts})
    taken = [_path(model, module, name) for name, (module, _) in found.items()]
    return found | _modules(model, left_over(model, inputs, taken))


def _modules(model: nn.Module, calls: Mapping[str, dict[str, Any]]) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """By path, a module and the arguments of its call."""
    return {path: (model.get_submodule(path), arguments) for path, arguments in calls.items()}


def _outermost(
    model: nn.Module, parts: Mapping[str, tuple[nn.Module, dict[str, Any]]]
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """The whole model's stages, and of the other parts those that lie in none of these."""
    paths = {name: _path(model, module, name) for name, (module, _) in parts.items()}
    kept = outermost({name: path for name, path in paths.items() if path})
    return {name: part for name, part in parts.items() if not paths[name] or name in kept}


def _path(model: nn.Module, part: nn.Module, name: str) -> str:
    return "" if name == WHOLE or part is model else path_of(model, part)


def _component(model: nn.Module, part: nn.Module, name: str, arguments: dict[str, Any]) -> TorchComponent:
    _, taken, flags = prepared_as_taken(prepare_for_export)(part, arguments)
    described: dict[str, Any] = {
        name: {"rank": value.dim()} if isinstance(value, Tensor) else {"container": type(value).__name__}
        for name, value in taken.items()
    }
    return TorchComponent(part, _path(model, part, name), ExportMetadata(kwargs=described), flags, model)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The arguments of one call of a component, flattened: its tensors in order, and ``described``, which two calls share
    when one export serves both."""

    arguments: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    described: str


def flat_call(component: TorchComponent, arguments: Mapping[str, Any]) -> Call:
    """A call of a component with ``arguments``, by name. What is not a tensor is a constant of the export."""
    register_cache_pytrees_for_model(component.model)  # type: ignore[arg-type]
    taken = {name: arguments[name] for name in component.metadata.kwargs if name in arguments}
    for value in taken.values():
        if is_cache_object(value):  # one that the module of another model defines is none of the exporter's
            register_pytree_node(type(value))
    leaves, spec = pytree.tree_flatten(taken)
    tensors = tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))
    leaves = [[str(leaf.dtype), list(leaf.shape)] if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves]
    return Call(taken, tensors, json.dumps([pytree.treespec_dumps(spec), leaves]))


class _Exporter(DynamoExporter):
    """The exporter, with a program whose outputs are flat tensors; their structure is in the metadata."""

    def export_program(self, model: Any, sample_inputs: Any, config: Any) -> tuple[ExportedProgram, ExportMetadata]:
        with (
            patch_model_outputs(model) as (_, _, traced),
            patch_attribute(exporter_dynamo, "prepare_for_export", in_order),
        ):
            program, metadata = super().export_program(model, sample_inputs, config=config)
        record_output_structure(metadata, traced[-1])
        return program, metadata


def in_order(original: Any) -> Any:
    """What the exporter works out anew of a picture's grid it puts behind the arguments that it leaves alone: the inputs of
    the program then have another order than the tensors of the call."""

    def prepared(model: Any, inputs: Any) -> Any:
        names = list(inputs)
        model, inputs, flags = original(model, inputs)
        return model, {name: inputs[name] for name in sorted(inputs, key=names.index)}, flags

    return prepared


def export_call(
    component: TorchComponent, call: Call, dynamic_shapes: Any = None
) -> tuple[ExportedProgram, ExportMetadata]:
    """A component exported for the shapes of a call; with ``dynamic_shapes``, those of torch.export for its arguments, along
    these axes for others, too.

    The program takes the leaves of the call in order and gives the tensors of the output in order; what else the model
    returns is in the metadata.

    Raises:
        Exception: whatever torch.export raises.
    """
    arguments = pytree.tree_map_only(
        Tensor, lambda tensor: tensor.clone(memory_format=torch.contiguous_format), dict(call.arguments)
    )
    exporter = _Exporter()  # type: ignore[no-untyped-call]
    model: Any = component.model
    config = DynamoConfig(dynamic_shapes=dynamic_shapes)
    # Grouped experts count tokens by a histogram and multiply by groups of that size, which depends on data. How they are
    # multiplied stands in the config of the text, which a decoder alone need not know (diffusion_gemma).
    with patched(), without_loss(model), batched_experts(component.root), as_before(model):
        program, metadata = exporter.export_program(model, {**arguments, **component.flags}, config)
    return program, metadata


OF_TORCH = "torch_"
"""What the names of nodes begin with where a hardware makes up names of its own beside them."""


def structured(metadata: ExportMetadata, outputs: Sequence[Tensor]) -> Any:
    """The tensors that a program gives in order, as what the model returned when it was exported."""
    return _Structure(metadata).unflatten(list(outputs))


class _Structure(ModelRunner):
    device = torch.device("cpu")

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> _Structure:
        return cls(metadata)

    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


def drop_constant_inputs(program: ExportedProgram) -> None:
    """Take the inputs that are no tensors from a program: their values are part of its trace."""
    signature = program.graph_signature
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    kept = []
    for spec in signature.input_specs:
        node = placeholders[spec.arg.name]
        if isinstance(spec.arg, torch.export.graph_signature.ConstantArgument):
            if node.users:
                raise ValueError(f"the export reads its constant argument {node.name}")
            program.graph.erase_node(node)
        else:
            kept.append(spec)
    signature.input_specs[:] = kept
    program.graph_module.recompile()


def drop_mutations(program: ExportedProgram) -> None:
    """Take from the outputs of a program, which computes on copies, what its inputs would hold afterwards: a recurrent state
    that is written in place is an output of its own, from which the next call takes it.

    Raises:
        ValueError: one is not, and would be lost.
    """
    signature = program.graph_signature
    (returned,) = (node for node in program.graph.nodes if node.op == "output")
    pairs = [
        pair
        for pair in zip(signature.output_specs, returned.args[0], strict=True)
        if pair[0].kind is not OutputKind.USER_INPUT_MUTATION
    ]
    given = {node for _, node in pairs}
    if lost := [node for node in returned.args[0] if node not in given]:
        raise ValueError(f"the export writes an input in place and does not give back what it holds then ({lost[0]})")
    signature.output_specs[:] = [spec for spec, _ in pairs]
    returned.args = (tuple(node for _, node in pairs),)
    program.graph_module.recompile()


_CHECKS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")


def drop_checks(program: ExportedProgram) -> None:
    """Take from a program what checks its sizes or values while it runs, and what only that reads: the shapes are those of the
    call. (``drop_runtime_asserts`` of transformers 5.23 erases some nodes twice, a KeyError.)"""
    for node in reversed(list(program.graph.nodes)):
        if node.op != "call_function":
            continue
        check = any(name in str(node.target) for name in _CHECKS)
        if check or (not node.users and isinstance(node.meta.get("val"), torch.SymInt | torch.SymBool | int | bool)):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
