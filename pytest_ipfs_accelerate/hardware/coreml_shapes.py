"""More dimensions than Core ML has: each op on a tensor of more than five is said on tensors of fewer.

An op reads and gives such a tensor in the order of its elements alone, so that its neighbouring dimensions are merged where it
treats them alike, and what it gives is viewed in its own shape again. A view of a view is one view of the first, and so the
shapes of six dimensions are gone at the end, where every op between them has a rule here. An op that has none stays as it is,
and coremltools names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

MOST = 5
"""The dimensions that a tensor of Core ML has at most (``mil/program.py`` of coremltools refuses more)."""

Rule = Callable[[OpOverload, dict[str, Any], list[list[int]]], Any]
"""A call of an op, by the names of its arguments, and the shapes of what it gives; the same on tensors of few dimensions, in
whatever shape."""

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def keep(apart: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, apart))
        return apart

    return keep


def around(shape: Sequence[int], dim: int, *, size: int | None = None) -> list[int]:
    """A shape as three dimensions: what is before ``dim``, ``dim``, and what is behind."""
    dim %= len(shape)
    return [prod(shape[:dim]), shape[dim] if size is None else size, prod(shape[dim + 1 :])]


def widened(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x`` broadcast to ``shape``, one dimension after the other."""
    sizes = [1] * (len(shape) - x.dim()) + list(x.shape)
    for dim, size in enumerate(shape):
        if sizes[dim] != size:
            x = x.reshape(around(sizes, dim)).expand(around(sizes, dim, size=size))
            sizes[dim] = size
    return x.reshape(-1)


def turned(x: Tensor, dims: Sequence[int]) -> Tensor:
    """``x`` with its dimensions in another order. Those that stay neighbours move as one; then one after the other moves to
    its place, between what is there already and what it passes."""
    dims = [dim % x.dim() for dim in dims if x.shape[dim] != 1]
    alone = [dim for dim in range(x.dim()) if x.shape[dim] == 1]
    dims = [dim - sum(other < dim for other in alone) for dim in dims]
    x = x.reshape([size for size in x.shape if size != 1])
    sizes, order = list(x.shape), list(range(x.dim()))
    runs: list[list[int]] = []
    for dim in dims:
        if runs and runs[-1][-1] + 1 == dim:
            runs[-1].append(dim)
        else:
            runs.append([dim])
    if len(runs) <= MOST:
        places = sorted(range(len(runs)), key=lambda index: runs[index][0])
        merged = x.reshape([prod(sizes[dim] for dim in runs[index]) for index in places])
        return merged.permute([places.index(index) for index in range(len(runs))])
    placed = 0
    for run in runs:
        at = order.index(run[0])
        if at != placed:
            passed = prod(sizes[dim] for dim in order[placed:at])
            moved = prod(sizes[dim] for dim in run)
            before = prod(sizes[dim] for dim in order[:placed])
            x = x.reshape(before, passed, moved, -1).permute(0, 2, 1, 3)
            order = [*order[:placed], *run, *order[placed:at], *order[at + len(run) :]]
        placed += len(run)
    return x


def pointwise(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    """Dimensions are merged that are broadcast in the same operands; where they are too many, every operand is widened."""
    shape = shapes[0]
    leaves, spec = pytree.tree_flatten(call)
    sizes = [[1] * (len(shape) - leaf.dim()) + list(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]
    runs: list[list[int]] = []
    for dim in (dim for dim, size in enumerate(shape) if size != 1):
        if runs and all((size[runs[-1][-1]] == 1) == (size[dim] == 1) for size in sizes):
            runs[-1].append(dim)
        else:
            runs.append([dim])
    given = iter(sizes)
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            own = next(given)
            merged = [prod(own[dim] for dim in run) for run in runs]
            leaves[index] = leaf.reshape(merged) if len(runs) <= MOST else widened(leaf, shape)
    return op(**pytree.tree_unflatten(leaves, spec))


@rule("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "clone", "contiguous", "alias", "flatten", "unflatten")
def same(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return call["self"]


@rule("_to_copy", "zeros_like", "ones_like", "full_like", "masked_fill", "where")
def elementwise(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return pointwise(op, call, shapes)


@rule("full", "zeros", "ones", "new_zeros", "new_ones", "new_full")
def filled(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return op(**call | {"size": [prod(shapes[0])]})


@rule("expand")
def expand(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return widened(call["self"], shapes[0])


@rule("repeat")
def repeat(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    x, times = call["self"], call["repeats"]
    sizes = [1] * (len(times) - x.dim()) + list(x.shape)
    for dim, count in enumerate(times):
        if count != 1:
            before, size, behind = around(sizes, dim)
            x = x.reshape(before, 1, size * behind).expand(before, count, size * behind)
            sizes[dim] *= count
    return x


@rule("permute")
def permute(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return turned(call["self"], call["dims"])


@rule("transpose")
def transpose(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    dims = list(range(call["self"].dim()))
    first, second = call["dim0"], call["dim1"]
    dims[first], dims[second] = dims[second], dims[first]
    return turned(call["self"], dims)


@rule("sum", "mean", "amax", "amin", "prod", "any", "all", "argmax", "argmin", "max", "min")
def reduced(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    """What is reduced goes to the end, and is one dimension there."""
    if "other" in call:  # the larger or smaller of two
        return pointwise(op, call, shapes)
    x, given = call["self"], call.get("dim")
    rank = x.dim()
    listed = list(range(rank)) if given is None or given == [] else [given] if isinstance(given, int) else given
    dims = sorted(dim % rank for dim in listed)
    kept = [dim for dim in range(rank) if dim not in dims]
    x = turned(x, kept + dims).reshape(-1, prod(x.shape[dim] for dim in dims))
    if "dim" not in {argument.name for argument in op._schema.arguments}:
        return op(**call | {"self": x})
    one: Any = [1] if isinstance(given, list) else 1
    return op(**call | {"self": x, "dim": one, "keepdim": False})


@rule(
    "_softmax", "softmax", "_log_softmax", "log_softmax", "cumsum", "slice", "select", "index_select", "gather", "split"
)
@rule("split_with_sizes", "unbind", "cat", "slice_scatter")
def along(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    """An op along one dimension."""
    dim = call.get("dim", 0)
    rank = next(leaf.dim() for leaf in pytree.tree_leaves(call) if isinstance(leaf, Tensor))

    def merged(tensor: Tensor) -> Tensor:
        return tensor.reshape(around(tensor.shape, dim)) if tensor.dim() == rank else tensor

    return op(**pytree.tree_map_only(Tensor, merged, call) | {"dim": 1})


@rule("index")
def index(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    """At places along one dimension."""
    x, indices = call["self"], call["indices"]
    (dim, places), *others = [(dim, places) for dim, places in enumerate(indices) if places is not None]
    if others or places.dtype == torch.bool:
        return NotImplemented
    return x.reshape(around(x.shape, dim)).index_select(1, places.reshape(-1))


@rule("stack")
def stack(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    before, _, behind = around(shapes[0], call.get("dim", 0))
    return torch.cat([tensor.reshape(before, 1, behind) for tensor in call["tensors"]], 1)


@rule("flip")
def flip(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    x = call["self"]
    for dim in call["dims"]:
        x = x.reshape(around(shapes[0], dim)).flip(1)
    return x


@rule("roll")
def roll(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    x, shifts, dims = call["self"], call["shifts"], call.get("dims", [])
    if not dims:
        return x.reshape(-1).roll(shifts)
    for shift, dim in zip(shifts, dims, strict=True):
        x = x.reshape(around(shapes[0], dim)).roll(shift, 1)
    return x


@rule("linear")
def linear(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return op(**call | {"input": call["input"].reshape(-1, call["input"].shape[-1])})


@rule("layer_norm", "native_layer_norm", "rms_norm")
def norm(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return op(**call | {"input": call["input"].reshape(-1, *call["normalized_shape"])})


@rule("embedding")
def embedding(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    return op(**call | {"indices": call["indices"].reshape(-1)})


@rule("constant_pad_nd", "pad")
def pad(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    x, pads = call["self"], call["pad"]
    last = len(pads) // 2
    return op(**call | {"self": x.reshape(-1, *x.shape[x.dim() - last :])}) if last < MOST else NotImplemented


@rule("matmul")
def matmul(op: OpOverload, call: dict[str, Any], shapes: list[list[int]]) -> Any:
    x, y = call["self"], call["other"]
    if x.dim() < 2 or y.dim() < 2:
        return NotImplemented
    if y.dim() == 2:
        return x.reshape(-1, x.shape[-1]) @ y
    batch, (rows, inner), columns = shapes[0][:-2], x.shape[-2:], y.shape[-1]
    x, y = widened(x, [*batch, rows, inner]), widened(y, [*batch, inner, columns])
    return torch.bmm(x.reshape(-1, rows, inner), y.reshape(-1, inner, columns))


def lower_ranks(program: ExportedProgram) -> int:
    """Replace the ops of a program that read or give more dimensions than Core ML has, where there is a rule. How many were."""
    graph = program.graph
    count = sum(_lower(program, node) for node in list(graph.nodes) if _high(node))
    if count:
        _join_views(program)
        graph.eliminate_dead_code()
        program.graph_module.recompile()
    return count


def value_of(node: Any) -> Any:
    """The tensor without numbers, or the number, that a node gave when it was traced; ``None`` where it is no node."""
    return node.meta.get("val") if isinstance(node, Node) else None


def _rank(value: Any) -> int:
    return value.dim() if isinstance(value, Tensor) else 0


def put(program: ExportedProgram, node: Node, found: Node) -> None:
    """Another node in the place of one, among the outputs, too."""
    node.replace_all_uses_with(found)
    program.graph_signature.replace_all_uses(node.name, found.name)
    program.graph.erase_node(node)


def _high(node: Node) -> bool:
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return False
    values = [value_of(node), *(value_of(argument) for argument in node.all_input_nodes)]
    return any(_rank(leaf) > MOST for leaf in pytree.tree_leaves(values))


def _fixed(node: Node) -> bool:
    leaves = pytree.tree_leaves([value_of(node), *(value_of(argument) for argument in node.all_input_nodes)])
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    return len(tensors) == len(leaves) and all(type(size) is int for tensor in tensors for size in tensor.shape)


def _rule_of(op: OpOverload) -> Rule | None:
    name = op._schema.name.removeprefix("aten::")
    return RULES.get(name) or (pointwise if torch.Tag.pointwise in op.tags else None)


def _lower(program: ExportedProgram, node: Node) -> bool:
    op: Any = node.target
    apart = _rule_of(op)
    if apart is None or not _fixed(node):
        return False
    shapes = [list(leaf.shape) for leaf in pytree.tree_leaves(value_of(node))]
    names = [argument.name for argument in op._schema.arguments]
    call = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    inputs = node.all_input_nodes

    def low(*tensors: Tensor) -> Any:
        given = dict(zip(inputs, tensors, strict=True))
        filled = pytree.tree_map(lambda leaf: given[leaf] if isinstance(leaf, Node) else leaf, call)
        found = apart(op, filled, shapes)
        if found is NotImplemented:
            return found
        several = isinstance(found, tuple | list)
        parts = [part.reshape(shape) for part, shape in zip(found if several else [found], shapes, strict=True)]
        return parts if several else parts[0]

    with next(leaf.fake_mode for leaf in pytree.tree_leaves(value_of(node))):
        # In the order of their elements, whatever the strides: a reshape is then a view.
        samples = [torch.empty(value_of(each).shape, dtype=value_of(each).dtype) for each in inputs]
        if low(*samples) is NotImplemented:
            return False
        traced = make_fx(low)(*samples).graph
    for view in traced.find_nodes(op="call_function", target=torch.ops.aten.view.default):
        view.target = torch.ops.aten.reshape.default  # the tensor itself may lie otherwise
    places = dict(zip((each for each in traced.nodes if each.op == "placeholder"), inputs, strict=True))
    with program.graph.inserting_before(node):
        found: Any = program.graph.graph_copy(traced, places)
    if isinstance(found, Node):
        put(program, node, found)
    else:
        for user in list(node.users):
            put(program, user, found[user.args[1]])
        program.graph.erase_node(node)
    return True


_VIEWS = tuple(
    f"aten::{name}" for name in ("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "clone", "alias")
)


def _views(node: Any) -> bool:
    return isinstance(node, Node) and isinstance(node.target, OpOverload) and node.target._schema.name in _VIEWS


def _join_views(program: ExportedProgram) -> None:
    """A view of a view of more dimensions than there are becomes a view of what that one is of."""
    for node in list(program.graph.nodes):
        source: Any = node.args[0] if _views(node) else None
        while _views(source) and _rank(value_of(source)) > MOST:
            source = source.args[0]
        if source is not None and source is not node.args[0]:
            with program.graph.inserting_before(node):
                view = program.graph.call_function(torch.ops.aten.reshape.default, (source, list(value_of(node).shape)))
            view.meta = dict(node.meta)
            put(program, node, view)
