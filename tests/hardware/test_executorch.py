"""ExecuTorch: whole it passes, with evidence read from its programs, and lowers once; broken it fails where it shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import job
from torch.export.graph_signature import TensorArgument
from torch.utils import _pytree as pytree
from transformers.exporters.metadata import ExportMetadata

from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.store import Store
from pytest_ipfs_accelerate.verdict import DEPARTURE, Implementation, Outcome, Stage, Verdict

pytest.importorskip("executorch", reason="executorch is not installed: it is in the extra executorch alone")

from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import serialize_xnnpack_binary

from pytest_ipfs_accelerate.hardware import executorch, executorch_program
from pytest_ipfs_accelerate.hardware.component_calls import Record
from pytest_ipfs_accelerate.hardware.executorch import ExecutorchRunner, differing
from pytest_ipfs_accelerate.hardware.executorch_calls import ExecutorchCall
from pytest_ipfs_accelerate.hardware.executorch_program import Lowered, LoweringFault, Sizes, lower_program, lowered
from pytest_ipfs_accelerate.hardware.executorch_runtime import Loaded
from pytest_ipfs_accelerate.hardware.export_torch import TorchComponent, flat_call
from pytest_ipfs_accelerate.hardware.pte import Contents, _read_graph, contents

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests of this file: what one of them lowers the others read."""
    return tmp_path_factory.mktemp("store")


def run(kept: Path, fault: str = "", **asked: Any) -> Verdict:
    """BERT's cheapest case, with one layer: a lowering takes some seconds."""
    target = f"executorch_sabotage:{fault}Executorch" if fault else None
    whole = job("bert", "fill-mask", "executorch", target)
    recipe = replace(whole.recipe, config={**whole.recipe.config, "num_hidden_layers": 1})
    options = {"recipe": recipe, "cache_dir": str(kept), "cache_size": 1_000_000_000, **asked}
    return run_case(replace(whole, **options), lambda stage: None)


def test_what_ran_where_is_read_from_the_programs_which_are_kept(kept: Path) -> None:
    verdict = run(kept)
    assert verdict.outcome is Outcome.PASSED, verdict
    assert (verdict.implementation, verdict.precision) == (Implementation.REAL, "fp32")
    assert verdict.device == "XNNPACK on the CPU"
    assert "executorch" in verdict.versions
    backend = verdict.evidence["backend"]
    component = backend["components"]["model"]
    assert component["nodes delegated to XNNPACK"]["FullyConnected"] >= 8
    assert component["kernels of ExecuTorch"]["aten::embedding.out"] >= 3
    assert backend["nodes"] == {
        "XNNPACK": sum(component["nodes delegated to XNNPACK"].values()),
        "ExecuTorch's own kernels": sum(component["kernels of ExecuTorch"].values()),
    }
    assert set(component["tensors by precision"]) == {"fp32"}
    assert backend["threads"] == 1
    assert "fallback" not in backend
    shapes = len(component["programs"])
    assert shapes >= 2
    again = run(kept).evidence["backend"]["components"]["model"]["programs"]
    assert [program["kept"] for program in again] == [True] * shapes
    assert [program["cid"] for program in again] == [program["cid"] for program in component["programs"]]


@pytest.mark.parametrize(
    ("fault", "stage", "words"),
    [
        ("Scaled", Stage.PARITY, "departs from the reference"),
        ("Maskless", Stage.PARITY, "padded"),
        ("Constant", Stage.RUN, "is constant"),
        ("RowMixing", Stage.BATCH, "of a batch of two departs"),
        ("Halved", Stage.RUN, "fp32 was asked for; tensors by precision are {'fp32':"),
        ("Undelegated", Stage.RUN, "XNNPACK has none of the nodes; ExecuTorch's own kernels have "),
        ("Elsewhere", Stage.RUN, "calls by delegate: {'OpenvinoBackend':"),
        ("OnlyTheHead", Stage.RUN, "torch computes with 6 matrices"),
    ],
)
def test_a_fault_fails_where_it_shows(kept: Path, fault: str, stage: Stage, words: str) -> None:
    verdict = run(kept, fault)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
    assert words in verdict.reason


def test_the_node_that_departs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower = executorch_program.to_edge_transform_and_lower

    def wrong(program: Any, **options: Any) -> Any:
        (norm,) = (node for node in program.graph.nodes if node.name == "layer_norm_1")
        with program.graph.inserting_after(norm):
            scaled = program.graph.call_function(torch.ops.aten.mul.Tensor, (norm, 1.01))
        scaled.meta = dict(norm.meta)
        norm.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
        for spec in program.graph_signature.output_specs:
            if spec.arg.name == norm.name:
                spec.arg = TensorArgument(scaled.name)
        return lower(program, **options)

    monkeypatch.setattr(executorch_program, "to_edge_transform_and_lower", wrong)
    departure = run(tmp_path, explain=True).evidence[DEPARTURE]
    assert (departure["operator"], departure["node"], departure["module"]) == (
        "layer_norm.default",
        "layer_norm_1",
        NORM,
    )
    assert departure["judged by"] == f"torch {torch.__version__} on the CPU, node by node of its trace"
    assert departure["relative l2"] == pytest.approx(0.01, rel=1e-3)
    assert departure["relative l2 of the inputs"] < departure["bound"] == 1e-5
    assert departure["operators compared"] > 25


class Writes(torch.nn.Module):
    """What its first matrix gives is written into twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.relu_(self.first(x))
        found += x
        return self.second(found)


@torch.no_grad()
def test_a_value_that_is_written_into_is_held_against_itself() -> None:
    component = component_of(Writes().eval())
    call = ExecutorchCall(Record("model", 1, {"x": torch.rand(2, 4)}, {}), component)
    (witness,) = call.witnesses().values()
    expected = witness()
    found = call.values(list(call.nodes))
    assert {name.partition("_")[0] for name in call.nodes} == {"linear", "relu", "add"}
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    assert [step.operator for step in call.steps()] == [
        "linear.default",
        "relu.default",
        "add.Tensor",
        "linear.default",
    ]


def test_what_is_left_to_torch_is_counted_where_it_is_allowed(kept: Path) -> None:
    verdict = run(kept, "OnlyTheHead", allow_fallback=True)
    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.evidence["backend"]["fallback"]["matrices multiplied by torch"] == 6


def test_another_precision_or_number_of_threads(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(kept, precision="fp16").reason == "not on executorch: XNNPACK is run in fp32 alone, not in fp16"
    monkeypatch.setattr(executorch, "_threadpool_get_thread_count", lambda: 7)
    monkeypatch.setattr(executorch, "_unsafe_reset_threadpool", lambda threads: None)
    assert "1 thread was asked for; the runtime has 7" in run(kept).reason


def test_a_damaged_program_is_lowered_again(kept: Path) -> None:
    programs = run(kept).evidence["backend"]["components"]["model"]["programs"]
    for file in kept.glob(f"blobs/*/{programs[0]['cid']}"):
        file.write_bytes(b"damaged")
    again = run(kept)
    assert again.outcome is Outcome.PASSED
    (warning,) = again.evidence["warnings"]
    assert f"the artifact {programs[0]['cid']}" in warning
    assert "was damaged; it is made again" in warning
    found = again.evidence["backend"]["components"]["model"]["programs"]
    assert [program["kept"] for program in found] == [False, *[True] * (len(programs) - 1)]
    assert found[0]["cid"] == programs[0]["cid"], "a lowering gives the same bytes again"


NORM = "bert.encoder.layer.0.attention.output.LayerNorm"
ONE_TENSOR = pytree.treespec_dumps(pytree.tree_structure(torch.ones(1)))


def test_a_decode_step_is_lowered_for_any_length_once_a_second_one_comes(kept: Path) -> None:
    whole = job("gpt2", "text-generation", "executorch")
    recipe = replace(whole.recipe, config={**whole.recipe.config, "n_layer": 1})
    verdict = run_case(replace(whole, recipe=recipe, cache_dir=str(kept), cache_size=1_000_000_000), lambda stage: None)
    assert verdict.outcome is Outcome.PASSED, verdict
    backend = verdict.evidence["backend"]
    first, *others = backend["components"]["decode"]["programs"]
    assert "sizes" not in first
    assert all(program["sizes"] for program in others)
    assert backend["calls"]["decode"] == 20
    assert len(others) == 2, "one for a longer cache, and one for a batch of two, too"
    assert "each size apart" not in backend["components"]["decode"]


def test_the_sizes_that_a_program_takes() -> None:
    sizes = Sizes([[2, 1], [2, 4, "s3", 16], [2, "s3 + 1"]], {"s3": [2, 8]})
    for length, other, fits in ((2, 3, True), (8, 9, True), (9, 10, False), (1, 2, False), (4, 4, False)):
        tensors = [torch.zeros(2, 1), torch.zeros(2, 4, length, 16), torch.zeros(2, other)]
        assert sizes.take(tensors) is fits, (length, other)
    assert not sizes.take([torch.zeros(1, 1), torch.zeros(2, 4, 4, 16), torch.zeros(2, 5)])


def test_the_axes_in_which_calls_differ() -> None:
    shapes = [(1, 1), (1, 4, 5, 16)]
    assert differing(shapes, []) == [[], []]
    assert differing([(1, 1), (1, 4, 6, 16)], [shapes]) == [[], [2]]
    assert differing([(2, 1), (2, 4, 9, 16)], [shapes, [(1, 1), (1, 4, 6, 16)]]) == [[0], [0, 2]]
    assert differing([(1, 1), (1, 4, 6, 16)], [[(2, 1), (2, 4, 5, 16)]]) == [], "a size of 1 is a constant to torch"


@pytest.mark.parametrize("takes", [True, False])
def test_what_cannot_be_lowered_for_any_size_is_lowered_for_each(monkeypatch: pytest.MonkeyPatch, takes: bool) -> None:
    asked: list[Any] = []

    def lower(component: Any, call: Any, free: Any, key: str, store: Any) -> Any:
        asked.append([list(axes) for axes in free])
        if any(free) and not takes:
            raise LoweringFault("ExecuTorch does not take the model")
        shape = [f"s{axis}" if free and axis in free[0] else size for axis, size in enumerate(call.tensors[0].shape)]
        return SimpleNamespace(sizes=Sizes([shape], {name: [2, 9] for name in shape if isinstance(name, str)}))

    monkeypatch.setattr(executorch, "lowered", lower)
    monkeypatch.setattr(executorch, "Loaded", lambda made: SimpleNamespace(made=made, run=lambda tensors: None))
    component = component_of(Sorted())
    runner = ExecutorchRunner(component, "", None, grows=True)
    for length in (4, 5, 6, 4):
        runner(x=torch.zeros(2, length))
    assert asked == ([[], [[1]]] if takes else [[], [[1]], [], []])
    assert runner.apart == ("" if takes else "ExecuTorch does not take the model")
    apart = ExecutorchRunner(component, "", None)
    for length in (4, 5):
        apart(x=torch.zeros(2, length))
    assert asked[-2:] == [[], []]


def test_that_something_cannot_be_lowered_for_any_size_is_kept(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    tries: list[Any] = []

    def fail(component: Any, call: Any, free: Any) -> Any:
        tries.append(free)
        raise LoweringFault("ExecuTorch does not take the model")

    monkeypatch.setattr(executorch_program, "_lower", fail)
    component = component_of(Sorted())
    call = flat_call(component, {"x": torch.zeros(2, 4)})
    for free in ([[1]], [[1]], [], []):
        with pytest.raises(LoweringFault, match="does not take the model"):
            lowered(component, call, free, "a key", Store(kept, 1_000_000))
    assert tries == [[[1]], [], []]


def component_of(module: torch.nn.Module) -> TorchComponent:
    return TorchComponent(module, "", ExportMetadata(kwargs={"x": {"rank": 2}}), {}, module)


class Sorted(torch.nn.Module):
    """A matrix, a clamp, a sum that XNNPACK has not, and where ``sorts`` an operator that ExecuTorch has no kernel for."""

    def __init__(self, *, sorts: bool = False) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.sorts = sorts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cumsum(torch.relu(self.linear(x)), 1)
        return torch.sort(x)[0] if self.sorts else x


def pte(model: torch.nn.Module, dtype: torch.dtype = torch.float32) -> bytes:
    return lower_program(torch.export.export(model.to(dtype).eval(), (torch.ones(2, 4, dtype=dtype),)))


def test_the_contents_of_a_program() -> None:
    found = contents(pte(Sorted()))
    assert found.nodes == {"FullyConnected": 1}, "the clamp is one with the product"
    assert found.kernels == {"aten::cumsum.out": 1}
    assert found.delegates == {"XnnpackBackend": 1}
    assert set(found.precisions) == {"fp32"}
    assert set(contents(pte(Sorted(), torch.half)).precisions) >= {"fp16"}


class Optional(torch.nn.Module):
    """A matrix, between arguments that are no tensors, as the language model of a llava is called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(
        self, ids: torch.Tensor | None = None, x: torch.Tensor | None = None, flag: bool = True
    ) -> torch.Tensor:
        assert x is not None
        return self.linear(x)


def test_arguments_that_are_no_tensors_are_part_of_a_program() -> None:
    model, x = Optional().eval(), torch.arange(8.0).reshape(2, 4)
    program = torch.export.export(model, (), {"ids": None, "x": x, "flag": True})
    loaded = Loaded(Lowered(lower_program(program), ExportMetadata(out_spec=ONE_TENSOR), Sizes([], {}), False))
    assert torch.allclose(loaded.run([x]), model(x=x), atol=1e-6)


def test_an_operator_without_a_kernel_is_named() -> None:
    with pytest.raises(LoweringFault, match=r"ExecuTorch .* has no kernel aten::sort\.values"):
        Loaded(Lowered(pte(Sorted(sorts=True)), ExportMetadata(out_spec=ONE_TENSOR), Sizes([], {}), False))


def test_a_quantised_value_counts_in_its_own_precision() -> None:
    def value(datatype: Any) -> Any:
        return schema.XNNTensorValue(datatype, 1, [4], 0, 0, 0, 0)

    quantised = schema.XNNQuantizedTensorValue(
        value(schema.XNNDatatype.xnn_datatype_qint8), schema.PerTensorQuant(0.5, 0)
    )
    plain = value(schema.XNNDatatype.xnn_datatype_fp32)
    copy = schema.XNode(schema.XNNCopy(0, 1, 0), 0, None)
    values = [schema.XValue(plain), schema.XValue(quantised)]
    graph = schema.XNNGraph("0", [copy], values, 2, [0], [1], [])
    found = Contents(Counter(), Counter(), Counter(), Counter())
    _read_graph(serialize_xnnpack_binary(graph, bytearray()), found)
    assert found.nodes == {"Copy": 1}
    assert found.precisions == {"fp32": 1, "qint8": 1}
