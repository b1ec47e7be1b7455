"""What the export to ONNX traces a second and a third time, not traced again: half of its time.

torch 2.13 decomposes an exported graph by tracing all of it again, and gives each operator its explicit types by running it a
third time, both in tensors of symbolic sizes, whose arithmetic is what an export spends its time in. But onnxscript translates
nearly every operator as it is, and what is left are a few spellings of others, which a node can be given in their place. A
graph with anything else, or with an operator that writes in place, goes the old way.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.onnx._internal.exporter import _fx_passes
from torch.onnx._internal.fx.passes import type_promotion

aten = torch.ops.aten

SPELLINGS: dict[Any, Any] = {
    aten.__and__.Tensor: aten.bitwise_and.Tensor,
    aten.__or__.Tensor: aten.bitwise_or.Tensor,
    aten.__xor__.Tensor: aten.bitwise_xor.Tensor,
    aten.min.other: aten.minimum.default,
    aten.max.other: aten.maximum.default,
}
"""Operators that take the same arguments as another one."""

CASTS = (aten.to.dtype, aten.to.device, aten.to.dtype_layout)
"""Forms of ``Tensor.to``; devices and layouts say nothing in ONNX."""

SAME = (aten.detach.default, aten.lift_fresh_copy.default)
"""What gives the tensor that it takes; the exporter puts in the first without noting what it gives."""

REMOVED = frozenset(
    {
        aten.sym_constrain_range_for_size.default,
        aten._assert_async.default,
        aten._assert_async.msg,
        aten._assert_scalar.default,
        aten._assert_tensor_metadata.default,
    }
)
"""Checks that the exporter takes out of a graph afterwards (``_fx_passes.remove_assertion_nodes``)."""


def traced_once() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """What is replaced: an object, the name of its attribute, and what gives the replacement."""
    yield _fx_passes, "decompose_with_registry", decomposed_in_place
    yield type_promotion._TypePromotionInterpreter, "run_node", known_not_run


def decomposed_in_place(original: Any) -> Any:
    """Of a graph that onnxscript translates but for a few spellings, these are respelled, and it is not traced again."""

    @wraps(original)
    def decompose_with_registry(program: ExportedProgram, registry: Any) -> ExportedProgram:
        translated = {found[0].fx_target for found in registry.functions.values()}
        if not all(respelled_or_translated(node, translated) for node in program.graph.nodes):
            return original(program, registry)  # type: ignore[no-any-return]
        respell(program.graph)
        return program

    return decompose_with_registry


def respelled_or_translated(node: Node, translated: set[Any]) -> bool:
    """Whether a node needs no decomposition but :func:`respell`."""
    if node.op != "call_function":
        return node.op in ("placeholder", "output")
    if node.target in SAME or node.target in REMOVED:
        return True
    if "val" not in node.meta:
        return False
    if node.target in SPELLINGS or node.target is operator.getitem:
        return True
    if node.target in CASTS:
        return _cast_to(node) is not None
    schema = getattr(node.target, "_schema", None)
    return node.target in translated and not (schema is not None and schema.is_mutable)


def respell(graph: Graph) -> None:
    """Give the nodes of ``SPELLINGS``, ``CASTS`` and ``SAME`` what decomposition would leave in their place. What the graph
    gives keeps the name of its node, by which its signature knows it."""
    given = set(graph.output_node().all_input_nodes)
    for node in list(graph.nodes):
        if node.target in SPELLINGS:
            node.target = SPELLINGS[node.target]
        elif node.target in SAME or (node.target in CASTS and _cast_to(node) == _dtype(node.args[0])):
            if node in given:
                node.target, node.args, node.kwargs = aten.clone.default, node.args[:1], {}
                node.meta.setdefault("val", node.args[0].meta.get("val"))
            else:
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)
        elif node.target in CASTS:
            node.target, node.args, node.kwargs = aten._to_copy.default, node.args[:1], {"dtype": _cast_to(node)}


def _dtype(node: Any) -> torch.dtype:
    found: torch.dtype = node.meta["val"].dtype
    return found


def _cast_to(node: Node) -> torch.dtype | None:
    """The dtype of what a cast gives of a tensor, where both are on one device."""
    taken, given = node.args[0].meta.get("val"), node.meta.get("val")  # type: ignore[union-attr]
    if not isinstance(taken, torch.Tensor) or not isinstance(given, torch.Tensor):
        return None
    return given.dtype if taken.device == given.device else None


def known_not_run(original: Any) -> Any:
    """A node whose types are explicit, or made so, is not run: what it gives is what the trace has noted."""

    @wraps(original)
    def run_node(self: Any, node: Node) -> Any:
        if node.op != "call_function" or "val" not in node.meta:
            return original(self, node)
        if rule := type_promotion.get_type_promotion_rule(node, self.type_promotion_table):
            with self._set_current_node(node):
                self._maybe_promote_node(node, rule)
        return node.meta["val"]

    return run_node
