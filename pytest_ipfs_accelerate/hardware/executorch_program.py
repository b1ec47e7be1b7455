"""A torch ExportedProgram lowered to an ExecuTorch program for XNNPACK, kept in the store, and read for what it holds."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.program import to_edge_transform_and_lower
from executorch.exir.scalar_type import ScalarType
from executorch.exir.schema import DelegateCall, KernelCall, Tensor
from flatbuffers.number_types import Int16Flags, Uint8Flags
from flatbuffers.table import Table
from torch.export import ExportedProgram
from torch.fx.traceback import NodeSource
from transformers.exporters.exporter_executorch import _get_edge_compile_config
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.utils import apply_fx_node_fixes, apply_fx_program_fixes, apply_patches

from ..store import Damaged, Missing, Store, cid_of
from .export_torch import Call, TorchComponent, drop_constant_inputs, export_call

LIBRARIES = ("torch", "transformers", "executorch")
"""On whose versions it depends what a lowering gives."""

CODE = ("export_torch.py", "executorch_program.py")
"""Files of this room on which it depends, too."""

XNNPACK = "XnnpackBackend"
"""The delegate, by the name that the runtime registers it under."""

QUANTISED = 2
"""The type of a quantised value in the union ``XValueUnion``."""

FLOATS = {ScalarType.FLOAT: "fp32", ScalarType.HALF: "fp16", ScalarType.BFLOAT16: "bf16", ScalarType.DOUBLE: "fp64"}


class LoweringFault(Exception):
    """torch.export or ExecuTorch does not take a component."""


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A component at fixed shapes: the bytes of its program, the structure of its output, whether it was in the store, and what
    was wrong with what was."""

    pte: bytes
    metadata: ExportMetadata
    kept: bool
    warning: str = ""

    @property
    def cid(self) -> str:
        return cid_of(self.pte)


def lowered(component: TorchComponent, call: Call, key: str, store: Store | None) -> Lowered:
    """A component lowered for the shapes of a call, now or at an earlier time. ``key`` says of what it is a component.

    Raises:
        LoweringFault: it cannot be.
    """
    source = hashlib.sha256(json.dumps([key, call.described, dict(component.flags), _made_by()]).encode()).hexdigest()
    warning = ""
    if store is not None:
        try:
            manifest = json.loads(store.get(store.find(source)))
            return Lowered(store.get(manifest["pte"]), ExportMetadata.from_dict(manifest["metadata"]), True)
        except Damaged as damaged:
            warning = f"the artifact {damaged} in {store.root} was damaged; it is made again"
        except Missing:
            pass
    found = replace(_lower(component, call), warning=warning)
    if store is not None:
        manifest = {"pte": store.put(found.pte), "metadata": asdict(found.metadata)}
        store.link(source, store.put(json.dumps(manifest, sort_keys=True).encode()))
    return found


@cache
def _made_by() -> tuple[dict[str, str], list[str]]:
    room = Path(__file__).parent
    return {name: version(name) for name in LIBRARIES}, [
        hashlib.sha256((room / name).read_bytes()).hexdigest() for name in CODE
    ]


def _lower(component: TorchComponent, call: Call) -> Lowered:
    what = component.module or "the model"
    with warnings.catch_warnings(), apply_patches("executorch"), apply_patches("executorch.xnnpack"), _lean():
        warnings.simplefilter("ignore")
        try:
            program, metadata = export_call(component, call)
        except Exception as error:
            raise LoweringFault(f"torch.export does not take {what}") from error
        try:
            return Lowered(lower_program(program), metadata, False)
        except Exception as error:
            raise LoweringFault(f"ExecuTorch {version('executorch')} does not take {what}") from error


def lower_program(program: ExportedProgram) -> bytes:
    """The bytes of a program in which XNNPACK has every node that its partitioner takes, within the patches of
    ``transformers.exporters`` for it. (Its own exporter does the same, and traces the model itself.)"""
    drop_constant_inputs(program)
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What a program holds: the nodes that XNNPACK computes by their kind, the calls of ExecuTorch's own kernels by name, the
    calls of delegates by the name of their backend, and the floating-point tensors of both by precision."""

    nodes: Counter[str]
    kernels: Counter[str]
    delegates: Counter[str]
    precisions: Counter[str]


def contents(pte: bytes) -> Contents:
    """Read a program: nothing of this is what the lowering says of itself."""
    program = deserialize_pte_binary(pte).program
    found = Contents(Counter(), Counter(), Counter(), Counter())
    for plan in program.execution_plan:
        for instruction in (instruction for chain in plan.chains for instruction in chain.instructions):
            what = instruction.instr_args
            if isinstance(what, KernelCall):
                operator = plan.operators[what.op_index]
                found.kernels[f"{operator.name}.{operator.overload}" if operator.overload else operator.name] += 1
            elif isinstance(what, DelegateCall):
                found.delegates[plan.delegates[what.delegate_index].id] += 1
        for value in plan.values:
            if isinstance(value.val, Tensor) and value.val.scalar_type in FLOATS:
                found.precisions[FLOATS[value.val.scalar_type]] += 1
        for delegate in plan.delegates:
            if delegate.id == XNNPACK:
                _read_graph(program.backend_delegate_data[delegate.processed.index].data, found)
    return found


@cache
def _schema() -> tuple[list[str], list[str]]:
    """The kinds of nodes and the types of values of XNNPACK's graphs by their numbers, as the installed schema has them."""
    text = (files("executorch.backends.xnnpack.serialization") / "runtime_schema.fbs").read_text("utf-8")
    text = re.sub(r"//.*", "", text)

    def names(declaration: str) -> list[str]:
        block = re.search(rf"{declaration}[^{{]*{{([^}}]*)}}", text)
        assert block is not None, f"the schema declares no {declaration}"
        return re.findall(r"(\w+)\s*(?::\s*\w+|=\s*\d+)?\s*,", block.group(1) + ",")

    return ["", *names("union XNodeUnion")], names("enum XNNDatatype")


def _read_graph(data: bytes, found: Contents) -> None:
    """Count what is in the flatbuffer of one XNNPACK graph: the table ``XNNGraph`` of its ``runtime_schema.fbs``, behind the
    header ``XNNHeader``. The numbers are those of the fields in their tables; a union takes two, its type and its value."""
    kinds, types = _schema()
    graph = bytes(data[int.from_bytes(data[10:14], "little") :])
    root = Table(graph, int.from_bytes(graph[:4], "little"))
    for node in _tables(root, 1):
        found.nodes[kinds[node.Get(Uint8Flags, _slot(node, 0))].removeprefix("XNN")] += 1
    for value in _tables(root, 2):
        tensor = _table(value, 1)
        if value.Get(Uint8Flags, _slot(value, 0)) == QUANTISED:
            tensor = _table(tensor, 0)
        datatype = types[tensor.Get(Int16Flags, _slot(tensor, 0))].removeprefix("xnn_datatype_")
        if datatype != "int32":
            found.precisions[datatype] += 1


def _slot(table: Table, field: int) -> int:
    """Where a field of a table lies in its bytes."""
    return int(table.Pos + table.Offset(4 + 2 * field))


def _table(table: Table, field: int) -> Table:
    return Table(table.Bytes, table.Indirect(_slot(table, field)))


def _tables(table: Table, field: int) -> Iterator[Table]:
    offset = table.Offset(4 + 2 * field)
    start = table.Vector(offset)
    for place in range(table.VectorLen(offset)):
        yield Table(table.Bytes, table.Indirect(start + 4 * place))
