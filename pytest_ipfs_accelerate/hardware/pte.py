"""What an ExecuTorch program (a ``.pte`` file) holds, read from its bytes: nothing here is what its lowering says of itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.scalar_type import ScalarType
from executorch.exir.schema import DelegateCall, KernelCall, Tensor
from flatbuffers.number_types import Int16Flags, Uint8Flags
from flatbuffers.table import Table

XNNPACK = "XnnpackBackend"
"""The delegate, by the name that the runtime registers it under."""

QUANTISED = 2
"""The type of a quantised value in the union ``XValueUnion``."""

FLOATS = {ScalarType.FLOAT: "fp32", ScalarType.HALF: "fp16", ScalarType.BFLOAT16: "bf16", ScalarType.DOUBLE: "fp64"}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a program holds: the nodes that XNNPACK computes by their kind, the calls of ExecuTorch's own kernels by name, the
    calls of delegates by the name of their backend, and the floating-point tensors of both by precision."""

    nodes: Counter[str]
    kernels: Counter[str]
    delegates: Counter[str]
    precisions: Counter[str]


def contents(pte: bytes) -> Contents:
    """Read a program."""
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
