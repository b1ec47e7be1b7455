"""Compiled graphs in the store: found again, told apart, made again where they are damaged, never trusted elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.metadata import ExportMetadata

from pytest_ipfs_accelerate.store import Store

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from pytest_ipfs_accelerate.hardware import qualcomm_contexts
from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm import PROVIDER, HtpRunner

SPEC = treespec_dumps(tree_structure([0]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", 10**8)


def runner(store: Store | None, soc_model: str = "57") -> HtpRunner:
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["product"]), helper.make_node("Relu", ["product"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 8))],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return HtpRunner(model, ExportMetadata(in_spec=SPEC, out_spec=SPEC), {}, soc_model, store=store)


def outputs(runner: HtpRunner, batch: int = 2) -> NDArray[np.float32]:
    x = np.random.default_rng(1).standard_normal((batch, 8)).astype(np.float32)
    result: NDArray[np.float32] = runner.run({"x": x})[0]
    return result


def test_what_is_kept_gives_the_same_and_says_so(store: Store) -> None:
    first, second = runner(store), runner(store)
    assert np.array_equal(outputs(first), outputs(second))
    (made,), (found,) = first.graphs(), second.graphs()
    assert (made["kept"], found["kept"]) == (False, True)
    assert made["cid"] == found["cid"]
    assert first.nodes() == second.nodes() == {PROVIDER: 2}
    assert not second.warnings()


def test_another_size_or_another_soc_is_compiled_for_itself(store: Store) -> None:
    outputs(runner(store))
    for batch, soc_model in ((3, "57"), (2, "60")):
        other = runner(store, soc_model)
        outputs(other, batch)
        assert [graph["kept"] for graph in other.graphs()] == [False]


def test_one_that_is_damaged_is_made_again_with_a_warning(store: Store) -> None:
    first = runner(store)
    expected = outputs(first)
    blob = store._blob(first.graphs()[0]["cid"])
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    second = runner(store)
    assert np.array_equal(outputs(second), expected)
    assert [graph["kept"] for graph in second.graphs()] == [False]
    assert "was damaged; it is made again" in second.warnings()[0]


def test_one_that_opens_elsewhere_is_not_trusted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs(runner(store))
    monkeypatch.setattr(qualcomm_contexts, "assigned", lambda session: {"CPUExecutionProvider": 1})
    with pytest.raises(NotOnHardware, match=r"a compiled graph opened on .'CPUExecutionProvider': 1"):
        outputs(runner(store))


def test_nothing_is_kept_where_nothing_is_to_be(tmp_path: Path) -> None:
    for store in (None, Store(tmp_path / "none", 0)):
        alone = runner(store)
        outputs(alone)
        assert alone.nodes() == {PROVIDER: 2}
        assert not alone.graphs()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kept", [True, False])
def test_an_operator_that_the_htp_does_not_take_is_named(store: Store, kept: bool) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["positive"]),
            helper.make_node("IsInf", ["positive"], ["infinite"]),
            helper.make_node("Cast", ["infinite"], ["y"], to=TensorProto.FLOAT),
        ],
        "refused",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 8))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    spec = ExportMetadata(in_spec=SPEC, out_spec=SPEC)
    refused = HtpRunner(model, spec, {}, fixed=False, store=store if kept else None)
    with pytest.raises(NotOnHardware, match=r"the HTP does not take IsInf \(1\)"):
        outputs(refused)
    assert not list(store.root.glob("index/*/*"))
