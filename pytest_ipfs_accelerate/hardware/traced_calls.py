"""A component that torch traced for the shapes of a call, computed by torch node by node: what a hardware that reads the trace
is held against."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from transformers.exporters.metadata import ExportMetadata

from .component_calls import ComponentCall, Record, float_leaves
from .export_torch import OF_TORCH, TorchComponent, flat_call, structured
from .intermediate import Step, Values


@dataclass(frozen=True, slots=True)
class Operation:
    """What a program computes at one place: its kind, and the values that it reads and writes, by whatever tells them apart."""

    kind: str
    reads: Sequence[Hashable]
    writes: Sequence[Hashable]


class _Behind(NamedTuple):
    """What a value that is no node's was made of: values that are, and the kinds of operations since then."""

    reads: dict[str, None]
    kinds: list[str]


class TracedCall(ComponentCall):
    """One call of a traced component. Its values have the names of the nodes of the trace."""

    def __init__(self, record: Record, part: TorchComponent) -> None:
        self.part = part
        super().__init__(record, part.model, part.flags)

    @abstractmethod
    def trace(self) -> tuple[ExportedProgram, ExportMetadata]:
        """The program as the hardware reads it, and the structure of its output."""

    def taken(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of the tensors of the call that the program reads."""
        return tensors

    def whole(self, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """The outputs of the program with those that it was spared."""
        return outputs

    @cached_property
    def traced(self) -> tuple[ExportedProgram, ExportMetadata]:
        return self.trace()

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes of the trace that compute floating-point numbers, by name."""
        program, _ = self.traced
        return {
            node.name: node
            for node in program.graph.nodes
            if node.op == "call_function"
            and isinstance(value := node.meta.get("val"), Tensor)
            and value.is_floating_point()
        }

    def witnesses(self) -> Mapping[str, Callable[[], Values]]:
        return {f"torch {torch.__version__} on the CPU, node by node of its trace": self._by_torch}

    @torch.no_grad()
    def _by_torch(self) -> Values:
        program, metadata = self.traced
        kept = _Kept(program.graph_module)
        outputs = kept.run(*_inputs(program, self.taken(flat_call(self.part, self.given()).tensors)))
        return float_leaves(structured(metadata, self.whole(outputs))) | {
            name: kept.values[name] for name in self.nodes
        }

    def steps_of(self, operations: Iterable[Operation], names: Mapping[Hashable, str]) -> Iterator[Step]:
        """What is computed from the value of one node to that of another, ``names`` being those of the values: an operation, or
        several that have no node's value between them, such as the products, sums and softmax of an attention."""
        behind: dict[Hashable, _Behind] = {}
        for operation in operations:
            reads: dict[str, None] = {}
            kinds: list[str] = []
            for value in operation.reads:
                if value in names:
                    reads[names[value]] = None
                elif value in behind:
                    reads |= behind[value].reads
                    kinds += [kind for kind in behind[value].kinds if kind not in kinds]
            kinds += [operation.kind] if operation.kind else []
            behind |= dict.fromkeys(operation.writes, _Behind(reads, kinds))
            writes = tuple(names[value] for value in operation.writes if value in names)
            if writes:
                name, module = writes[0].removeprefix(OF_TORCH), self._module_of(self.nodes[writes[0]])
                yield Step("+".join(kinds), name, module, tuple(reads), writes)

    def _module_of(self, node: Node) -> str:
        """The path of the module that a node comes from, from the root of the model."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        return ".".join(part for part in (self.part.module, stack[-1][0] if stack else "") if part)


class _Kept(Interpreter):
    """Keeps what each node gives, which a later one may write into."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.values: dict[str, Tensor] = {}

    def run_node(self, node: Node) -> Any:
        found = super().run_node(node)
        if isinstance(found, Tensor) and found.is_floating_point():
            self.values[node.name] = found.detach().clone().float()
        return found


def _inputs(program: ExportedProgram, tensors: Sequence[Tensor]) -> Iterator[Any]:
    """What the placeholders of a program stand for: its parameters and constants, and the tensors of a call in order."""
    given = iter(tensors)
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            yield next(given)
        else:
            assert spec.target is not None, "a parameter has a name"
            yield program.state_dict.get(spec.target, program.constants.get(spec.target))
