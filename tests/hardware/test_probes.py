"""The reason why a hardware is not here is true, and tells the user what to do."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ipfs_accelerate.builtin import HARDWARE
from pytest_ipfs_accelerate.hardware import probes
from pytest_ipfs_accelerate.verdict import Implementation


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is installed, whatever is here: a test takes away from it."""
    modules = {"torch", "transformers", "onnxscript", "onnxruntime", "openvino", "onnxruntime_qnn", "executorch"}
    monkeypatch.setattr(probes, "find_spec", lambda name: find_spec("sys") if name in modules else None)
    monkeypatch.setattr(probes, "version", lambda name: "2.13.0")
    monkeypatch.setattr(probes, "no_exporters", lambda: "")
    return modules


@pytest.mark.parametrize(
    ("probe", "module", "words"),
    [
        (probes.cpu, "torch", "torch is not installed: pip install 'pytest-ipfs-accelerate'"),
        (probes.cuda, "transformers", "transformers is not installed"),
        (probes.apple, "torch", "torch is not installed"),
        (probes.onnxruntime, "onnxruntime", "onnxruntime is not installed: pip install 'pytest-ipfs-accelerate'"),
        (probes.onnxruntime, "onnxscript", "onnxscript is not installed"),
        (probes.openvino, "openvino", "openvino is not installed"),
        (
            probes.qualcomm,
            "onnxruntime_qnn",
            "onnxruntime-qnn is not installed: pip install 'pytest-ipfs-accelerate[qualcomm]'",
        ),
        (
            probes.executorch,
            "executorch",
            "executorch is not installed: pip install 'pytest-ipfs-accelerate[executorch]'",
        ),
    ],
)
def test_a_missing_library_names_what_to_install(installed: set[str], probe: Any, module: str, words: str) -> None:
    installed.discard(module)
    found = probe()
    assert not found.available
    assert words in found.reason
    assert found.device == ""


def test_a_transformers_that_cannot_export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "transformers"
    monkeypatch.setattr(probes, "find_spec", lambda name: SimpleNamespace(origin=str(package / "__init__.py")))
    monkeypatch.setattr(probes, "version", lambda name: "5.7.0")
    for probe in (probes.onnxruntime, probes.openvino, probes.qualcomm, probes.executorch):
        assert probe().reason == "transformers 5.7.0 has no exporters: pip install 'transformers>=5.23'"
    assert probes.cpu().available
    (package / "exporters" / "runners").mkdir(parents=True)
    assert probes.openvino().available


def test_what_is_installed_is_available(installed: set[str]) -> None:
    available = (probes.cpu, probes.onnxruntime, probes.openvino, probes.qualcomm, probes.executorch)
    assert all(probe().available for probe in available)


def test_a_simulator_is_called_one(installed: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(probes, "Path", lambda name: tmp_path / "none")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert probes.qualcomm().implementation is Implementation.SIMULATOR
    monkeypatch.setattr(platform, "machine", lambda: "ARM64")
    assert probes.qualcomm().implementation is Implementation.REAL


def test_an_apple_gpu_is_on_a_mac_of_apples_own(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    where = "no Apple GPU: this is Linux on x86_64; for a conversion to Core ML coremltools is not installed"
    assert probes.apple().reason == f"{where}: pip install 'pytest-ipfs-accelerate[apple]'"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not probes.apple().available
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert probes.apple().available
    assert probes.apple().implementation is Implementation.REAL


def test_a_conversion_says_that_core_ml_did_not_run(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed.add("coremltools")
    monkeypatch.setattr(sys, "platform", "linux")
    found = probes.apple()
    assert found.available
    assert found.implementation is Implementation.CONVERTED
    assert "Core ML itself did not run" in found.device


def test_inductor_needs_a_compiler(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(probes.shutil, "which", lambda name: None)
    assert probes.inductor().reason == "no C++ compiler: install g++ or clang++, or set CXX"
    monkeypatch.setattr(probes.shutil, "which", lambda name: f"/bin/{name}" if name == "clang++" else None)
    assert probes.inductor().device == "CPU, through /bin/clang++"


def test_rocm_needs_its_build_and_a_gpu(installed: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert probes.rocm().reason == "torch 2.13.0 is not built for ROCm"
    monkeypatch.setattr(probes, "version", lambda name: "2.13.0+rocm7")
    monkeypatch.setattr(probes, "Path", lambda name: tmp_path / "kfd")
    assert probes.rocm().reason == "no AMD GPU: /dev/kfd is not there"
    (tmp_path / "kfd").touch()
    assert probes.rocm().available


def test_a_torch_without_cuda(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "version", lambda name: "2.13.0+cpu")
    assert probes.cuda().reason == "torch 2.13.0+cpu is built without CUDA"


def test_no_driver(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    found = probes.cuda()
    assert not found.available
    assert found.reason.startswith("no NVIDIA driver that answers: ")
    assert "cannot open shared object file" in found.reason


def driver(gpus: int, failure: int = 0) -> SimpleNamespace:
    """An NVML that sees so many GPUs, or fails to start."""

    def count(pointer: Any) -> int:
        pointer._obj.value = gpus
        return 0

    def name(handle: Any, buffer: Any, size: int) -> int:
        buffer.value = b"NVIDIA T4"
        return 0

    return SimpleNamespace(
        nvmlInit_v2=lambda: failure,
        nvmlShutdown=lambda: 0,
        nvmlDeviceGetCount_v2=count,
        nvmlDeviceGetHandleByIndex_v2=lambda index, handle: 0,
        nvmlDeviceGetName=name,
    )


@pytest.mark.parametrize(("gpus", "failure", "device"), [(2, 0, "NVIDIA T4, NVIDIA T4"), (0, 0, ""), (2, 9, "")])
def test_what_the_driver_sees(
    installed: set[str], monkeypatch: pytest.MonkeyPatch, gpus: int, failure: int, device: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver(gpus, failure))
    found = probes.cuda()
    assert (found.available, found.device) == (bool(device), device)
    assert bool(found.reason) is not found.available
    assert ("NVML error 9" in found.reason) is (failure == 9)


@pytest.mark.parametrize("spec", HARDWARE.values(), ids=lambda spec: spec.name)
def test_every_probe_finds_a_device_or_says_why_not(spec: Any) -> None:
    found = spec.probe()
    assert bool(found.reason) is not found.available
    assert bool(found.device) is found.available
