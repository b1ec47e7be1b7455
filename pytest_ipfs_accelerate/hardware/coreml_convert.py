"""A torch ExportedProgram converted to a Core ML program, saved and read back, and kept in the store: once is enough."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import logging
import os
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import coremltools
import torch
from coremltools.converters.mil.mil.program import Program
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from transformers.exporters.metadata import ExportMetadata

from ..store import Damaged, Missing, Store, cid_of
from .coreml_nothing import drop_empty, drop_empty_ends, is_empty
from .coreml_ops import decompositions, registered, rename_nodes
from .coreml_shapes import lower_ranks
from .export_torch import OF_TORCH, Call, TorchComponent, drop_checks, drop_constant_inputs, drop_mutations, export_call

LIBRARIES = ("torch", "transformers", "coremltools", "numpy")
"""On whose versions it depends what a conversion gives."""

CODE = (
    "export_torch.py",
    "coreml_convert.py",
    "coreml_ops.py",
    "coreml_nothing.py",
    "coreml_rules.py",
    "coreml_shapes.py",
)
"""Files of this room on which it depends, too."""

PRECISIONS = {"fp32": coremltools.precision.FLOAT32, "fp16": coremltools.precision.FLOAT16}


class ConversionFault(Exception):
    """torch.export or coremltools does not take a component: says which op."""


class Output(NamedTuple):
    """The type that torch gives an output, and its shape where it holds nothing: the program has none of those."""

    dtype: str
    nothing: list[int] | None

    @classmethod
    def of(cls, node: Node) -> Output:
        value = node.meta["val"]
        return cls(str(value.dtype).removeprefix("torch."), list(value.shape) if is_empty(node) else None)


def whole(outputs: Sequence[Output], given: Sequence[NDArray[Any]]) -> list[Tensor]:
    """All the outputs, with those that a program does not give.

    Raises:
        ValueError: it gives more or fewer than there are others.
    """
    arrays = iter(given)
    count = sum(output.nothing is None for output in outputs)
    if len(given) != count:
        raise ValueError(f"the program gives {len(given)} tensors, its trace {count}")
    return [
        torch.empty(output.nothing, dtype=getattr(torch, output.dtype))
        if output.nothing is not None
        else torch.from_numpy(next(arrays)).to(getattr(torch, output.dtype))
        for output in outputs
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A component at fixed shapes: the bytes of ``model.mlmodel`` and ``weight.bin`` of its package, the structure of its
    output, the tensors of that as torch gives them (Core ML has neither 64 bits nor booleans, and none that hold nothing), the
    ops that were translated by a registration of ours, whether it was in the store, and what was wrong with what was."""

    spec: bytes
    weights: bytes
    metadata: ExportMetadata
    outputs: Sequence[Output]
    registered: Mapping[str, int]
    kept: bool
    warning: str = ""

    @property
    def cid(self) -> str:
        """The CID of the program, which names its weights by their place alone; that of the weights stands beside it."""
        return cid_of(self.spec)


def converted(component: TorchComponent, call: Call, precision: str, key: str, store: Store | None) -> Converted:
    """A component converted for the shapes of a call, now or at an earlier time. ``key`` says of what it is a component.

    Raises:
        ConversionFault: it cannot be.
    """
    source = hashlib.sha256(json.dumps([key, call.described, dict(component.flags), precision, _made_by()]).encode())
    warning = ""
    if store is not None:
        try:
            return _load(store, store.find(source.hexdigest()))
        except Damaged as damaged:
            warning = f"the artifact {damaged} in {store.root} was damaged; it is made again"
        except Missing:
            pass
    found = replace(_convert(component, call, precision), warning=warning)
    if store is not None:
        store.link(source.hexdigest(), _save(store, found))
    return found


@cache
def _made_by() -> tuple[dict[str, str], list[str]]:
    room = Path(__file__).parent
    return {name: version(name) for name in LIBRARIES}, [
        hashlib.sha256((room / name).read_bytes()).hexdigest() for name in CODE
    ]


def _save(store: Store, made: Converted) -> str:
    manifest = {
        "spec": store.put(made.spec),
        "weights": store.put(made.weights),
        "metadata": asdict(made.metadata),
        "outputs": [list(output) for output in made.outputs],
        "registered": dict(made.registered),
    }
    return store.put(json.dumps(manifest, sort_keys=True).encode())


def _load(store: Store, cid: str) -> Converted:
    manifest = json.loads(store.get(cid))
    metadata = ExportMetadata.from_dict(manifest["metadata"])
    spec, weights = store.get(manifest["spec"]), store.get(manifest["weights"])
    outputs = [Output(*output) for output in manifest["outputs"]]
    return Converted(spec, weights, metadata, outputs, manifest["registered"], True)


def _convert(component: TorchComponent, call: Call, precision: str) -> Converted:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program, metadata = export_call(component, call)
        except Exception as error:
            raise ConversionFault(f"torch.export does not take {component.module or 'the model'}") from error
        spec, weights, used = convert_program(program, precision)
    (output,) = program.graph.find_nodes(op="output")
    return Converted(spec, weights, metadata, [Output.of(node) for node in output.args[0]], used, False)


def convert_program(program: ExportedProgram, precision: str) -> tuple[bytes, bytes, dict[str, int]]:
    """A program as the bytes of its saved package, and the ops that a registration of ours translated.

    Raises:
        ConversionFault: coremltools does not take it.
    """
    with TemporaryDirectory() as folder, _quiet(), _swift(), registered() as used:
        package = Path(folder) / "model.mlpackage"
        try:
            coremltools.convert(
                _prepared(program, used),
                minimum_deployment_target=coremltools.target.iOS18,
                compute_precision=PRECISIONS[precision],
                skip_model_load=True,
                package_dir=str(package),
                pass_pipeline=_passes(),
            )
        except Exception as error:
            raise ConversionFault(f"coremltools {coremltools.__version__} does not take {_culprit(error)}") from error
        data = package / "Data" / "com.apple.CoreML"
        weights = data / "weights" / "weight.bin"
        return (data / "model.mlmodel").read_bytes(), weights.read_bytes() if weights.exists() else b"", dict(used)


def traced(component: TorchComponent, call: Call) -> tuple[ExportedProgram, ExportMetadata]:
    """A component for the shapes of a call as coremltools is given it, for who asks what lies inside. The program's inputs are
    its parameters and the tensors of the call, and what a node computes has the name of the node in MIL, too."""
    with warnings.catch_warnings(), registered() as used:
        warnings.simplefilter("ignore")
        program, metadata = export_call(component, call)
        return _prepared(program, used), metadata


def _prepared(program: ExportedProgram, used: Counter[str]) -> ExportedProgram:
    decomposed: ExportedProgram = program.run_decompositions(decompositions())
    drop_checks(decomposed)
    drop_constant_inputs(decomposed)
    drop_mutations(decomposed)
    drop_empty(decomposed)
    drop_empty_ends(decomposed)
    if lowered := lower_ranks(decomposed):
        used["ops on more than five dimensions"] = lowered
    rename_nodes(decomposed)
    return decomposed


def _passes() -> coremltools.PassPipeline:
    """The passes of coremltools, but for two. One makes of a product and a sum by channel a normalisation of what has the
    variance 1, and adds its epsilon of 1e-5 to that: what is normed before (GroupNorm) comes out 5e-6 too small. The other
    turns what lies between two transposes, which then is no value of the model's any more, and ends in a KeyError at a
    reduction of all axes (timesfm2_5)."""
    passes = coremltools.PassPipeline()
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm", "common::reduce_transposes"})
    return passes


def _culprit(error: BaseException) -> str:
    """The op at which a conversion stopped: of torch while it is translated, of MIL afterwards; else the pass."""
    where = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        local = frame.f_locals
        if frame.f_code.co_name == "convert_single_node":
            return f"the op {local['node'].kind} ({local['node'].name.removeprefix(OF_TORCH)})"
        if frame.f_code.co_name == "from_exir_node":
            return f"the op {local['kind']} ({local['node'].name.removeprefix(OF_TORCH)})"
        if frame.f_code.co_name == "apply" and "prog" in local:
            where = f"the program, in its pass {type(local.get('self')).__name__}"
    return where or "the program"


@contextlib.contextmanager
def _swift() -> Iterator[None]:
    """coremltools checks the links between the ops of a program after each of its passes, some 110 times, which takes a fifth
    of a conversion; what it saves is read back and evaluated here. And it collects garbage, among all that was there before:
    another tenth."""
    validate = Program.validate
    gc.freeze()
    Program.validate = lambda *args, **kwargs: None
    try:
        yield
    finally:
        Program.validate = validate
        gc.unfreeze()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """coremltools logs and draws bars for a person; the verdict has what it raises."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink):
            yield
    finally:
        logger.setLevel(level)
