"""Torch ops that coremltools 9.0 has no translation of, or a wrong one, each in the words of ops that it has.

Most of what it lacks torch can take apart itself; :func:`decompositions` asks for that, and only for those ops. What is left
has a rule in torch where torch can say it (:mod:`.coreml_rules`), else a translation to MIL, here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY
from coremltools.converters.mil.frontend.torch.utils import TORCH_DTYPE_TO_MIL_DTYPE, sanitize_op_kind
from coremltools.converters.mil.mil import Var, types
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram

from .coreml_rules import NONE, RULES
from .export_torch import OF_TORCH

Translate = Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True)
class Translation:
    """An op in ops of MIL, under the name that coremltools looks it up by."""

    kind: str
    lacking: str
    translate: Translate


TRANSLATIONS: list[Translation] = []


def translation(kind: str, lacking: str) -> Callable[[Translate], Translate]:
    def keep(translate: Translate) -> Translate:
        TRANSLATIONS.append(Translation(kind, lacking, translate))
        return translate

    return keep


@translation("alias", NONE)
def alias(context: Any, node: Any) -> None:
    context.add(mb.identity(x=_get_inputs(context, node)[0], name=node.name))


@translation("gelu", "one that drops the keyword approximate and always converts the exact function")
def gelu(context: Any, node: Any) -> None:
    how = (node.kwinputs or {}).get("approximate", ("none",))[0]
    mode = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}[how]
    context.add(mb.gelu(x=_get_inputs(context, node)[0], mode=mode, name=node.name))


@translation("scatter_reduce.two", NONE)
def scatter_extreme(context: Any, node: Any) -> None:
    x, dim, index, source = _get_inputs(context, node)[:4]
    how = node.inputs[4]
    mode = {"amax": "max", "amin": "min", "prod": "mul"}[how]
    places = {"indices": index, "axis": dim.val}
    if not (node.kwinputs or {}).get("include_self", (True,))[0]:
        start = mb.fill_like(ref_tensor=source, value={"amax": -3e38, "amin": 3e38, "prod": 1.0}[how])
        x = mb.scatter_along_axis(data=x, updates=start, mode="update", **places)
    context.add(mb.scatter_along_axis(data=x, updates=source, mode=mode, name=node.name, **places))


def product(context: Any, node: Any) -> None:
    x, *given = _get_inputs(context, node)
    dtype = TORCH_DTYPE_TO_MIL_DTYPE[node.meta["val"].dtype]
    if x.dtype != dtype:
        x = mb.cast(x=x, dtype=types.builtin_to_string(dtype))
    axes = [given[0].val] if given else None
    keep = bool(given[1].val) if len(given) > 1 else bool((node.kwinputs or {}).get("keepdim", (False,))[0])
    context.add(mb.reduce_prod(x=x, axes=axes, keep_dims=keep, name=node.name))


for _kind in ("prod", "prod.dim_int"):
    translation(_kind, NONE)(product)


def kind_of(op: OpOverload) -> str:
    """The name under which coremltools looks a torch op up."""
    return str(sanitize_op_kind(op.name()))  # type: ignore[no-untyped-call]


def translated(op: OpOverload) -> bool:
    """Whether coremltools has a translation of a torch op; it looks by the name that it made once and by the name made of
    that one again, which differ for ``__and__``."""
    kind = kind_of(op)
    return kind in _TORCH_OPS_REGISTRY.name_to_func_mapping and _TORCH_OPS_REGISTRY.get_func(kind) is not None


@cache
def _known() -> dict[OpOverload, Any]:
    """What torch can take apart."""
    known = {**torch._decomp.decomposition_table, **torch.export.default_decompositions()}
    return {op: parts for op, parts in known.items() if isinstance(op, OpOverload) and op.namespace == "aten"}


def decompositions() -> dict[OpOverload, Any]:
    """The rules above, and torch's own for each op that coremltools has no translation of."""
    apart = {op: parts for op, parts in _known().items() if not translated(op)}
    return apart | {rule.op: rule.apart for rule in RULES}


def rename_nodes(program: ExportedProgram) -> None:
    """Give nodes names of their own: coremltools takes the ``"floor"`` of a division for the value of a node that is called
    ``floor``, and calls the second sum of its own making ``add_2``, as torch the third of the model."""
    for node in program.graph.nodes:
        if node.op == "call_function":
            name = node.name
            node._rename(f"{OF_TORCH}{name}")
            program.graph_signature.replace_all_uses(name, node.name)


@contextmanager
def registered() -> Iterator[Counter[str]]:
    """For a time our translations stand in coremltools' registry, and every translation gives the type that torch gives: some
    of its own give floating-point numbers for integers, which the next op refuses. What was done, by op."""
    used: Counter[str] = Counter()
    table = _TORCH_OPS_REGISTRY.name_to_func_mapping
    before = dict(table)
    table.update({kind: typed(kind, translate, used) for kind, translate in before.items()})
    for ours in TRANSLATIONS:
        table[ours.kind] = typed(ours.kind, ours.translate, used, ours=True)
    try:
        yield used
    finally:
        table.clear()
        table.update(before)


def typed(kind: str, translate: Translate, used: Counter[str], *, ours: bool = False) -> Translate:
    def typed(context: Any, node: Any) -> None:
        translate(context, node)
        if ours:
            used[kind] += 1
        wanted = (node.meta or {}).get("val")
        value = context[node.name] if node.name in context else None  # noqa: SIM401 (it has no get)
        if not isinstance(value, Var) or not isinstance(wanted, Tensor):
            return
        dtype = TORCH_DTYPE_TO_MIL_DTYPE.get(wanted.dtype)
        if dtype is not None and value.dtype != dtype:
            used[f"{kind} given its type"] += 1
            context.add(mb.cast(x=value, dtype=types.builtin_to_string(dtype)), torch_name=node.name, override=True)

    return typed
