"""ONNX Runtime Web in a browser: whole it passes, with evidence; broken it fails where it shows. Skipped without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from cases import job
from onnx import TensorProto, helper

from pytest_ipfs_accelerate.hardware import probes
from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.web import runtime as runtimes
from pytest_ipfs_accelerate.hardware.web.devtools import BrowserFailed
from pytest_ipfs_accelerate.hardware.web.placements import read_placements
from pytest_ipfs_accelerate.hardware.web.runtime import WebRuntime
from pytest_ipfs_accelerate.host import Host
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.settings import STAGE_SECONDS
from pytest_ipfs_accelerate.verdict import Implementation, Outcome, Stage, Verdict

pytestmark = pytest.mark.skipif(
    not probes.webgpu().available or not probes.wasm().available,
    reason=probes.webgpu().reason or probes.wasm().reason or "-",
)

CASES = {"wasm": "Wasm", "webgpu": "WebGpu"}


def run(hardware: str, fault: str = "", *, allow_fallback: bool = False, device: str = "") -> Verdict:
    target = f"sabotage_web:{fault}{CASES[hardware]}" if fault else None
    asked = replace(job("bert", "fill-mask", hardware, target), allow_fallback=allow_fallback, device=device)
    return run_case(asked, lambda stage: None)


@pytest.fixture(scope="module", autouse=True)
def no_browser_is_left() -> Iterator[None]:
    yield
    for browser in runtimes._browsers.values():
        browser.close()
    runtimes._browsers.clear()


def test_webassembly_passes_and_says_where_it_ran() -> None:
    verdict = run("wasm")
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    assert verdict.implementation is Implementation.REAL
    assert verdict.precision == "fp32"
    assert "Chrom" in (verdict.device or "")
    found = verdict.evidence["backend"]
    assert "onnxruntime-web 1." in found["libraries"]
    assert found["execution provider"] == "wasm"
    assert set(found["weights by precision"]) == {"fp32"}
    nodes = found["components"]["model"]["nodes by provider"]
    assert list(nodes) == ["CPUExecutionProvider"]
    assert nodes["CPUExecutionProvider"] > 50


def test_webgpu_passes_and_a_software_adapter_is_no_gpu() -> None:
    verdict = run("webgpu")
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    found = verdict.evidence["backend"]
    software = found["adapter"]["fallback"]
    assert verdict.implementation is (Implementation.SIMULATOR if software else Implementation.REAL)
    assert ("software adapter, no GPU" in (verdict.device or "")) is software
    component = found["components"]["model"]
    assert list(component["nodes by provider"]) == ["WebGpuExecutionProvider"]
    assert component["nodes elsewhere"] == 0
    assert component["integer nodes on the CPU"] > 0, "a mask of Booleans is made on the CPU"
    assert component["sessions"] >= 3
    assert component["dispatches to the GPU"] > 100
    assert "fallback" not in found


@pytest.mark.parametrize(
    ("hardware", "fault", "stage", "words"),
    [
        ("wasm", "Scaled", Stage.PARITY, "departs from the reference"),
        ("wasm", "Maskless", Stage.PARITY, "padded"),
        ("wasm", "Constant", Stage.RUN, "is constant"),
        ("wasm", "RowMixing", Stage.BATCH, "of a batch of two departs"),
        ("wasm", "Halved", Stage.RUN, "fp32 was asked for; the graphs hold fp16"),
        ("webgpu", "Scaled", Stage.PARITY, "departs from the reference"),
        ("webgpu", "Maskless", Stage.PARITY, "padded"),
        ("webgpu", "Constant", Stage.RUN, "is constant"),
        ("webgpu", "FallenBack", Stage.RUN, "all of them belong on WebGpuExecutionProvider"),
        ("webgpu", "Idle", Stage.RUN, "gave the GPU nothing to do"),
        ("webgpu", "OtherAdapter", Stage.RUN, "computed on None"),
    ],
)
def test_each_fault_is_named_at_its_stage(hardware: str, fault: str, stage: Stage, words: str) -> None:
    verdict = run(hardware, fault)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
    assert words in verdict.reason


def two_providers() -> bytes:
    """A graph with an operator that WebGPU lacks: the determinant of a matrix."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [3, 3]), ("y", []))
    }
    nodes = [helper.make_node("Exp", ["x"], ["e"], "exp"), helper.make_node("Det", ["e"], ["y"], "det")]
    graph = helper.make_graph(nodes, "two", [values["x"]], [values["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_node_that_webgpu_does_not_take_is_in_the_log() -> None:
    runtime = WebRuntime("webgpu", 1)
    found = read_placements(runtime.open(two_providers(), {}).log)
    assert found.names == {"CPUExecutionProvider": ("Det (det)",), "WebGpuExecutionProvider": ("Exp (exp)",)}
    assert found.counts == {"CPUExecutionProvider": 1, "WebGpuExecutionProvider": 1}


def test_what_is_asked_for_and_not_there() -> None:
    software = WebRuntime("webgpu", 1).adapter
    assert software is not None
    if not software.software:
        pytest.skip("the browser sees a GPU")
    with pytest.raises(NotOnHardware, match="a GPU was asked for; the browser offers SwiftShader"):
        WebRuntime("webgpu", 1, "GPU")


KINDS = {
    TensorProto.FLOAT: torch.tensor([0.1, -0.0, 1e-45, float("inf"), float("nan")]),
    TensorProto.INT64: torch.tensor([2**63 - 1, -(2**63), 2**53 + 1, 0, -1]),
    TensorProto.INT32: torch.tensor([2**31 - 1, -(2**31), 7, 0, -1], dtype=torch.int32),
    TensorProto.BOOL: torch.tensor([True, False, True, True, False]),
    TensorProto.DOUBLE: torch.tensor([0.1, 5e-324, -1.7e308, 0.0, 1.0], dtype=torch.float64),
    TensorProto.FLOAT16: torch.tensor([0.1, 6e-8, 65504.0, -0.0, 1.0], dtype=torch.float16),
}


def test_numbers_come_back_bit_by_bit() -> None:
    names = [f"é{kind}" for kind in KINDS]
    ins = [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in zip(names, KINDS, strict=True)]
    outs = [helper.make_tensor_value_info(f"{name}/o", kind, ["n"]) for name, kind in zip(names, KINDS, strict=True)]
    nodes = [helper.make_node("Identity", [name], [f"{name}/o"]) for name in names]
    graph = helper.make_graph(nodes, "g", ins, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    runtime = WebRuntime("wasm", 1)
    session = runtime.open(model.SerializeToString(), {})
    for length in (5, 0):
        feeds = {name: value[:length] for name, value in zip(names, KINDS.values(), strict=True)}
        outputs, _ = runtime.run(session, feeds)
        for name, sent in feeds.items():
            found = outputs[f"{name}/o"]
            assert (found.dtype, found.shape) == (sent.dtype, sent.shape)
            assert found.numpy().tobytes() == sent.numpy().tobytes()
    runtime.release(session)


@pytest.mark.parametrize(
    ("fault", "words"), [("Crashing", "the page crashed"), ("Throwing", "BrowserFailed: Error: out of memory")]
)
def test_the_case_after_a_page_that_failed_gets_another_one(fault: str, words: str) -> None:
    verdict = run("wasm", fault)
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.RUN, "BrowserFailed")
    assert words in verdict.reason
    assert run("wasm").outcome is Outcome.PASSED


def test_a_page_that_hangs_is_a_verdict_and_leaves_no_browser() -> None:
    host = Host(threads=1, timeouts={**STAGE_SECONDS, Stage.RUN: 8})
    try:
        verdict = host.run(job("bert", "fill-mask", "wasm", "sabotage_web:HangingWasm"))
    finally:
        host.close()
    assert (verdict.outcome, verdict.stage) == (Outcome.TIMED_OUT, Stage.RUN), verdict.reason


def test_an_operator_that_does_not_exist_is_told_as_the_runtime_tells_it() -> None:
    graph = helper.make_graph(
        [helper.make_node("Nonsense", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BrowserFailed, match="Nonsense"):
        WebRuntime("wasm", 1).open(model.SerializeToString(), {})
