"""Where ONNX Runtime Web put the nodes of a graph: read from its log, the only place where it says so.

With verbose logging a session writes one line for each provider and, where there are several, one for each node:

    … VerifyEachNodeIsAssignedToAnEp]  All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 91
    … VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 2
    … VerifyEachNodeIsAssignedToAnEp]   Cast (node__to_copy)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto

from ..base import NotOnHardware
from ..operators import typed

CPU = "CPUExecutionProvider"

_MARK = "VerifyEachNodeIsAssignedToAnEp]"
_ALL = re.compile(r"All nodes placed on \[(\w*)\]\. Number of nodes: (\d+)")
_SOME = re.compile(r"Node\(s\) placed on \[(\w*)\]\. Number of nodes: (\d+)")
_NODE = re.compile(r"\w+ \(.*\)")
_COPIES = ("MemcpyToHost (", "MemcpyFromHost (")
"""What ONNX Runtime puts between two providers computes nothing."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


@dataclass(frozen=True, slots=True)
class Placements:
    """How many nodes each provider has, and which, where there is more than one provider: ``Cast (its name)``."""

    counts: Mapping[str, int]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_placements(log: Iterable[str]) -> Placements:
    """The placements that the log of one session reports, those of its subgraphs added and copies left out. A node that it
    counts and does not list has no name here, so that nothing is held in its favour.

    Raises:
        NotOnHardware: it reports none, or lists more nodes than it counts.
    """
    counts: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    provider = ""
    for line in (line.partition(_MARK)[2].strip() for line in log if _MARK in line):
        if found := _ALL.search(line):
            counts[found[1]] += int(found[2])
            provider = ""
        elif found := _SOME.search(line):
            provider = found[1]
            counts[provider] += int(found[2])
            names.setdefault(provider, [])
        elif provider and line.startswith(_COPIES):
            counts[provider] -= 1
        elif provider and _NODE.fullmatch(line):
            names[provider].append(line)
    if not counts:
        raise NotOnHardware("ONNX Runtime Web did not log where it placed the nodes")
    if short := [name for name, listed in names.items() if len(listed) > counts[name]]:
        raise NotOnHardware(f"the log of ONNX Runtime Web lists more nodes on {', '.join(short)} than it counts")
    return Placements(dict(counts), {name: tuple(listed) for name, listed in names.items()})


def integer_nodes(graph: bytes) -> frozenset[str]:
    """The nodes, as a log names them, that compute with integers and Booleans alone, and the casts between those and
    floating-point numbers; a node of whose values one has no known type is not among them. WebGPU's language has no integers
    of 64 bits and no Booleans in memory, so that ONNX Runtime computes positions and masks on the CPU; with other numbers it
    need not."""
    model = typed(graph).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*model.input, *model.value_info, *model.output]}
    types |= {constant.name: constant.data_type for constant in model.initializer}
    found = set()
    for node in model.node:
        read, given = (
            {types.get(name, TensorProto.UNDEFINED) for name in names if name} for names in (node.input, node.output)
        )
        whole = [not values & {*_FLOATS, TensorProto.UNDEFINED} for values in (read, given)]
        border = node.op_type == "Cast" and any(whole) and TensorProto.UNDEFINED not in read | given
        if (all(whole) or border) and not _subgraphs(node):
            found.add(f"{node.op_type} ({node.name})")
    return frozenset(found)


def _subgraphs(node: onnx.NodeProto) -> bool:
    return any(
        attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
    )
