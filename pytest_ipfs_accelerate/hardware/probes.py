"""Whether a hardware can run here, found in about a millisecond: files, ``find_spec`` and ctypes, never a runtime."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ..specs import Availability
from ..verdict import Implementation
from .web.find import find_browser, find_runtime, runtime_version

PACKAGE = "pytest-ipfs-accelerate"

CORE_ML_EVALUATED = "Core ML program, evaluated by MIL's value inference; Core ML itself did not run"
"""What computes where a model is converted for Core ML and there is none."""


GPU_FILES = ("/dev/dri/renderD*", "/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")
"""Where Linux has a GPU, one of these is there."""


def missing(*modules: str, extra: str = "") -> str:
    """Why these modules cannot be imported, and what to install; empty when they can."""
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return ""
    names = " and ".join(module.replace("_", "-") for module in absent)
    wanted = f"{PACKAGE}[{extra}]" if extra else PACKAGE
    return f"{names} {'is' if len(absent) == 1 else 'are'} not installed: pip install '{wanted}'"


def no_exporters() -> str:
    """Why the installed transformers cannot export a model; empty where it can."""
    spec = find_spec("transformers")
    if spec is None or spec.origin is None or (Path(spec.origin).parent / "exporters" / "runners").is_dir():
        return ""
    return f"transformers {version('transformers')} has no exporters: pip install 'transformers>=5.23'"


def _unless(reason: str, device: str) -> Availability:
    return Availability(available=not reason, reason=reason, device="" if reason else device)


def cpu() -> Availability:
    return _unless(missing("torch", "transformers"), platform.machine())


def onnxruntime() -> Availability:
    return _unless(missing("torch", "transformers", "onnxscript", "onnxruntime") or no_exporters(), "CPU")


def openvino() -> Availability:
    return _unless(missing("torch", "transformers", "onnxscript", "openvino") or no_exporters(), "CPU")


def cuda() -> Availability:
    if reason := missing("torch", "transformers"):
        return _unless(reason, "")
    if (built := version("torch")).endswith("+cpu"):
        return _unless(f"torch {built} is built without CUDA", "")
    try:
        devices = nvidia_gpus()
    except OSError as error:
        return _unless(f"no NVIDIA driver that answers: {error}", "")
    return _unless("" if devices else "the NVIDIA driver sees no GPU", ", ".join(devices))


def nvidia_gpus() -> list[str]:
    """Names of the GPUs that the driver sees, asked of NVML: ``cuInit`` would leave state that a later fork inherits.

    Raises:
        OSError: there is no driver library, or it does not answer (18: its version is not that of the kernel module).
    """
    nvml = ctypes.CDLL("libnvidia-ml.so.1" if sys.platform != "win32" else "nvml.dll")
    if code := nvml.nvmlInit_v2():
        raise OSError(f"NVML error {code}")
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return []
        return [_nvidia_name(nvml, index) for index in range(count.value)]
    finally:
        nvml.nvmlShutdown()


def _nvidia_name(nvml: ctypes.CDLL, index: int) -> str:
    handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) or nvml.nvmlDeviceGetName(handle, name, 96):
        return f"GPU {index}"
    return name.value.decode()


def nvidia_driver() -> str:
    """The version of the NVIDIA driver; empty where there is none that answers."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1" if sys.platform != "win32" else "nvml.dll")
    except OSError:
        return ""
    found = ctypes.create_string_buffer(96)
    if nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(found, 96):
        return ""
    nvml.nvmlShutdown()
    return found.value.decode()


def apple() -> Availability:
    if reason := missing("torch", "transformers"):
        return _unless(reason, "")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return _unless("", "Apple GPU (MPS)")
    where = f"no Apple GPU: this is {platform.system()} on {platform.machine()}"
    if reason := missing("coremltools", extra="apple"):
        return _unless(f"{where}; for a conversion to Core ML {reason}", "")
    if reason := no_exporters():
        return _unless(f"{where}; for a conversion to Core ML: {reason}", "")
    return Availability(available=True, device=CORE_ML_EVALUATED, implementation=Implementation.CONVERTED)


def qualcomm() -> Availability:
    reason = missing("torch", "transformers", "onnxscript", "onnxruntime")
    reason = reason or missing("onnxruntime_qnn", extra="qualcomm") or no_exporters()
    if reason:
        return _unless(reason, "")
    if Path("/sys/devices/soc0/soc_id").exists() or platform.machine() == "ARM64":
        return Availability(available=True, device="Hexagon HTP")
    return Availability(available=True, device="Hexagon HTP simulator", implementation=Implementation.SIMULATOR)


def inductor() -> Availability:
    if reason := missing("torch", "transformers"):
        return _unless(reason, "")
    compilers = (os.environ.get("CXX", ""), "c++", "g++", "clang++", "cl")
    found = next((path for name in compilers if name and (path := shutil.which(name))), "")
    return _unless("" if found else "no C++ compiler: install g++ or clang++, or set CXX", f"CPU, through {found}")


def executorch() -> Availability:
    reason = missing("torch", "transformers") or missing("executorch", extra="executorch") or no_exporters()
    return _unless(reason, "XNNPACK on the CPU")


def rocm() -> Availability:
    if reason := missing("torch", "transformers"):
        return _unless(reason, "")
    if "+rocm" not in (built := version("torch")):
        return _unless(f"torch {built} is not built for ROCm", "")
    return _unless("" if Path("/dev/kfd").exists() else "no AMD GPU: /dev/kfd is not there", "AMD GPU")


def wasm() -> Availability:
    return _in_browser("wasm")


def webgpu() -> Availability:
    found = _in_browser("webgpu")
    if not found.available or sys.platform != "linux" or any(map(glob, GPU_FILES)):
        return found
    device = f"SwiftShader (software adapter, no GPU), {found.device}"
    return Availability(available=True, device=device, implementation=Implementation.SIMULATOR)


def _in_browser(provider: str) -> Availability:
    """Whether there are a browser and ONNX Runtime Web, with the files that it needs for an execution provider."""
    reason = missing("torch", "transformers", "onnxscript", "onnxruntime") or no_exporters()
    if sys.platform == "win32":
        reason = reason or "a browser is driven over pipes, on Linux and macOS"
    browser, no_browser = find_browser()
    place, no_runtime = find_runtime(provider)
    if reason := reason or "; ".join(filter(None, (no_browser, no_runtime))):
        return _unless(reason, "")
    assert place is not None
    return _unless("", f"{browser}, onnxruntime-web {runtime_version(place)}".rstrip())


def library_version(name: str) -> str:
    """The installed version of a distribution, or an empty string."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
