"""A component lowered to an ExecuTorch program for XNNPACK, at fixed sizes or at any, and kept in the store: once is enough."""

from __future__ import annotations

import gc
import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir.program import to_edge_transform_and_lower
from sympy import sympify
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import OutputKind, OutputSpec, TensorArgument
from torch.fx.traceback import NodeSource
from torch.utils import _pytree as pytree
from transformers.exporters import exporter_dynamo
from transformers.exporters.exporter_executorch import _get_edge_compile_config
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.utils import apply_fx_node_fixes, apply_fx_program_fixes, apply_patches, patch_attribute

from ..store import Damaged, Missing, Store, cid_of
from .export_torch import Call, TorchComponent, drop_constant_inputs, drop_mutations, export_call

LIBRARIES = ("torch", "transformers", "executorch")
"""On whose versions it depends what a lowering gives."""

CODE = ("export_torch.py", "executorch_program.py")
"""Files of this room on which it depends, too."""


class LoweringFault(Exception):
    """torch.export or ExecuTorch does not take a component."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a program takes: for each tensor its sizes, a number or an expression of symbols (``s1 + 1``), and the smallest and
    largest number for each symbol."""

    shapes: list[list[int | str]]
    ranges: dict[str, list[int]]

    def take(self, tensors: Sequence[Tensor]) -> bool:
        """Whether these are the sizes of some tensors."""
        pairs = [
            pair
            for shape, tensor in zip(self.shapes, tensors, strict=True)
            for pair in zip(shape, tensor.shape, strict=True)
        ]
        symbols = {size: found for size, found in pairs if size in self.ranges}
        within = all(low <= symbols[name] <= high for name, (low, high) in self.ranges.items() if name in symbols)
        return within and all(
            size == found if isinstance(size, int) else sympify(size).subs(symbols) == found for size, found in pairs
        )


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A component: the bytes of its program, the structure of its output, the sizes that it takes, whether it was in the store,
    and what was wrong with what was."""

    pte: bytes
    metadata: ExportMetadata
    sizes: Sizes
    kept: bool
    warning: str = ""

    @property
    def cid(self) -> str:
        return cid_of(self.pte)


Free = Sequence[Sequence[int]]
"""For each tensor of a call, the axes along which its size varies."""

ROOM = 4
"""How many times the size of a call its program takes along an axis that is free: memory is planned for that many."""


def lowered(component: TorchComponent, call: Call, free: Free, key: str, store: Store | None) -> Lowered:
    """A component lowered for the sizes of a call, and for others along the axes that are ``free``, now or at an earlier time.
    ``key`` says of what it is a component.

    Raises:
        LoweringFault: it cannot be. That is kept, too, where axes are free: it is tried once.
    """
    parts = [key, call.described, [list(axes) for axes in free], dict(component.flags), _made_by()]
    source = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    warning = ""
    if store is not None:
        try:
            return _load(store, store.find(source))
        except Damaged as damaged:
            warning = f"the artifact {damaged} in {store.root} was damaged; it is made again"
        except Missing:
            pass
    try:
        found = replace(_lower(component, call, free), warning=warning)
    except LoweringFault as fault:
        if store is not None and any(free):
            store.link(source, store.put(json.dumps({"fault": str(fault)}).encode()))
        raise
    if store is not None:
        manifest = {"pte": store.put(found.pte), "metadata": asdict(found.metadata), "sizes": asdict(found.sizes)}
        store.link(source, store.put(json.dumps(manifest, sort_keys=True).encode()))
    return found


def _load(store: Store, cid: str) -> Lowered:
    manifest = json.loads(store.get(cid))
    if "fault" in manifest:
        raise LoweringFault(manifest["fault"])
    metadata = ExportMetadata.from_dict(manifest["metadata"])
    return Lowered(store.get(manifest["pte"]), metadata, Sizes(**manifest["sizes"]), True)


@cache
def _made_by() -> tuple[dict[str, str], list[str]]:
    room = Path(__file__).parent
    return {name: version(name) for name in LIBRARIES}, [
        hashlib.sha256((room / name).read_bytes()).hexdigest() for name in CODE
    ]


def _lower(component: TorchComponent, call: Call, free: Free) -> Lowered:
    what = component.module or "the model"
    with _for_xnnpack():
        try:
            program, metadata = export_call(component, call, _dynamic_shapes(call, free) if any(free) else None)
        except Exception as error:
            raise LoweringFault(f"torch.export does not take {what}") from error
        try:
            pte = lower_program(program)
        except Exception as error:
            raise LoweringFault(f"ExecuTorch {version('executorch')} does not take {what}") from error
    return Lowered(pte, metadata, _sizes(program), False)


def traced(component: TorchComponent, call: Call) -> tuple[ExportedProgram, ExportMetadata]:
    """A component for the sizes of a call, for who asks what lies inside. No node of it writes into what another gave, so that
    each has one value."""
    with _for_xnnpack():
        program, metadata = export_call(component, call)
        program = program.run_decompositions({})
        drop_constant_inputs(program)
        drop_mutations(program)
    return program, metadata


def read_out(component: TorchComponent, call: Call, names: Sequence[str]) -> tuple[Lowered, list[str]]:
    """A component lowered with these values of its trace among its outputs, which it gives as a flat list: those of the
    component first. And the names of all of them, in order."""
    program, metadata = traced(component, call)
    with _for_xnnpack():
        nodes = {node.name: node for node in program.graph.nodes}
        (output,) = (node for node in nodes.values() if node.op == "output")
        given = [node.name for node in output.args[0]]
        added = [name for name in names if name not in given]
        output.args = ((*output.args[0], *(nodes[name] for name in added)),)
        program.graph_signature.output_specs.extend(
            OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(name), None) for name in added
        )
        structure = pytree.tree_structure([0] * len([*given, *added]))
        program.module_call_graph[0].signature.out_spec = structure
        program.graph_module.recompile()
        metadata = replace(metadata, out_spec=pytree.treespec_dumps(structure), out_constants=[])
        return Lowered(lower_program(program), metadata, _sizes(program), False), [*given, *added]


@contextmanager
def _for_xnnpack() -> Iterator[None]:
    with warnings.catch_warnings(), apply_patches("executorch"), apply_patches("executorch.xnnpack"), _lean():
        warnings.simplefilter("ignore")
        yield


def _dynamic_shapes(call: Call, free: Free) -> Any:
    """What torch.export is told of the arguments of a call: the largest size of each free axis. torch finds which of them are
    equal, or one longer than another, and which are fixed all the same."""
    axes = {id(tensor): axes for tensor, axes in zip(call.tensors, free, strict=True)}

    def marked(original: Any) -> Any:
        return lambda tensor: {axis: Dim.AUTO(max=ROOM * tensor.shape[axis]) for axis in axes[id(tensor)]}

    with patch_attribute(exporter_dynamo, "_auto_dynamic_shape", marked):
        return exporter_dynamo.get_auto_dynamic_shapes(dict(call.arguments))


def _sizes(program: ExportedProgram) -> Sizes:
    """The sizes of a program's inputs, as its trace has them."""
    names = program.graph_signature.user_inputs
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    shapes = [[size if isinstance(size, int) else str(size) for size in values[name].shape] for name in names]
    symbols = {size for shape in shapes for size in shape}
    limits = {str(symbol): limit for symbol, limit in program.range_constraints.items() if str(symbol) in symbols}
    return Sizes(shapes, {name: [int(limit.lower), int(limit.upper)] for name, limit in limits.items()})


def lower_program(program: ExportedProgram) -> bytes:
    """The bytes of a program in which XNNPACK has every node that its partitioner takes, within the patches of
    ``transformers.exporters`` for it. (Its own exporter does the same, and traces the model itself.)"""
    drop_constant_inputs(program)
    # The tensors in their order are all that a call of the program is flattened to now.
    taken: Any = program.module_call_graph[0].signature
    taken.forward_arg_names = list(program.graph_signature.user_inputs)
    taken.in_spec = pytree.tree_structure(((), dict.fromkeys(taken.forward_arg_names)))
    apply_fx_program_fixes("executorch", program)
    apply_fx_node_fixes("executorch", program.graph_module)
    edge = to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner()],
        compile_config=_get_edge_compile_config("xnnpack"),
    )
    return bytes(edge.to_executorch().buffer)


@contextmanager
def _lean() -> Iterator[None]:
    """A third less time: each of the two hundred passes of a lowering copies anew where every node comes from, which is kept as
    it is here, and the garbage collector looks through all of it again and again, which it does once afterwards."""
    history: Any = NodeSource
    history.__deepcopy__ = lambda self, memo: self
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        del history.__deepcopy__
        if collects:
            gc.enable()
        gc.collect()
