"""ONNX Runtime Web in a page of a headless browser, as an object of this process: sessions, and tensors in and out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from onnx import TensorProto, helper
from safetensors.torch import load, save
from torch import Tensor

from ..base import NotOnHardware
from .devtools import Browser, BrowserFailed
from .find import find_browser, find_runtime
from .server import Server

GPU, SOFTWARE = "GPU", "SwiftShader"

FLAGS: Mapping[str, tuple[str, ...]] = {
    "wasm": ("--disable-gpu",),
    # On Linux WebGPU is behind a flag; where the browser sees no GPU these give it SwiftShader. The last one makes the adapter
    # tell the name of its device and driver.
    "webgpu": (
        "--enable-unsafe-webgpu",
        "--enable-features=Vulkan",
        "--ignore-gpu-blocklist",
        "--enable-webgpu-developer-features",
    ),
}
SWIFTSHADER = "--use-webgpu-adapter=swiftshader"
LOAD_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Adapter:
    """What WebGPU computes on, as the browser describes it. ``software`` says that it is the CPU, playing a GPU."""

    name: str
    software: bool
    described: Mapping[str, Any]


SOFTWARE_NAMES = ("swiftshader", "llvmpipe", "lavapipe", "softpipe", "basic render", "warp")


def adapter_of(described: Mapping[str, Any]) -> Adapter:
    """An adapter from what the browser says of it. One that is neither marked as a fallback nor of type CPU, but has the name
    of a software renderer, is one all the same."""
    words = [str(described.get(key) or "") for key in ("description", "vendor", "architecture", "device", "driver")]
    software = (
        bool(described.get("fallback"))
        or described.get("type") == "CPU"
        or any(name in " ".join(words).lower() for name in SOFTWARE_NAMES)
    )
    name = words[0] or " ".join(word for word in words[1:4] if word) or "an adapter without a name"
    return Adapter(f"{name} (software adapter, no GPU)" if software else name, software, dict(described))


@dataclass(frozen=True, slots=True)
class Opened:
    """A session in the page: its number, what it takes and gives, and what was logged as it opened."""

    number: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    log: tuple[str, ...]


class WebRuntime:
    """A browser with one page, in which ONNX Runtime Web is loaded for one execution provider.

    Raises:
        NotOnHardware: there is no such browser, runtime, adapter or device.
        BrowserFailed: the browser does not start, or the page does not load.
    """

    def __init__(self, provider: str, threads: int, device: str = "") -> None:
        executable, why = find_browser()
        place, lacking = find_runtime(provider)
        if not executable or place is None:
            raise NotOnHardware(why or lacking)
        self.alive = True
        self.spent: list[MutableMapping[Any, Opened]] = []
        """Sessions that nobody needs any more. A garbage collector adds to them, in the midst of a command, say: they are
        released when the next one opens."""
        self.server = Server(place)
        self.browser = Browser(executable, [*FLAGS[provider], *([SWIFTSHADER] if device == SOFTWARE else [])])
        self.page = self.browser.open(self.server.address)
        self._loaded()
        self.adapter = self._adapter(device) if provider == "webgpu" else None
        started = self.page.call(f"ipfs.start({json.dumps(provider)}, {threads})")
        self.version: str = started["version"]
        if threads > 1 and not started["isolated"]:
            raise BrowserFailed("the page is not isolated, and WebAssembly has no threads in it")
        self.threads = threads
        if provider == "webgpu":
            # Held for good: with its last session ONNX Runtime destroys the device, and all shaders that it compiled.
            self.anchor = self.open(_smallest(), {})

    def _loaded(self) -> None:
        limit = time.monotonic() + LOAD_SECONDS
        while not self.page.call("'ipfs' in globalThis"):
            if time.monotonic() > limit:
                raise BrowserFailed(f"the page did not load within {LOAD_SECONDS} s")
            time.sleep(0.01)

    def _adapter(self, device: str) -> Adapter:
        described = self.page.call("ipfs.adapter()")
        if described is None:
            raise NotOnHardware(f"{self.browser.version} offers no WebGPU adapter")
        found = adapter_of(described)
        if device == GPU and found.software:
            raise NotOnHardware(f"a GPU was asked for; the browser offers {found.name}")
        return found

    @property
    def description(self) -> str:
        return f"{self.browser.version}, onnxruntime-web {self.version}"

    def open(self, model: bytes, sizes: Mapping[str, int], *, optimise: bool = True) -> Opened:
        """A session of an ONNX file, its dynamic dimensions of these ``sizes`` fixed."""
        while self.spent:
            for session in self.spent.pop().values():
                self.release(session)
        number = self.server.put(model)
        options = {
            "freeDimensionOverrides": dict(sizes),
            "graphOptimizationLevel": "all" if optimise else "disabled",
        }
        found = self._call(f"ipfs.open({json.dumps(number)}, {json.dumps(options)})")
        return Opened(number, tuple(found["inputs"]), tuple(found["outputs"]), tuple(found["log"]))

    def run(self, session: Opened, feeds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """The outputs of a session by name, bit by bit as the page held them, and how many dispatches the GPU was given.

        Raises:
            BrowserFailed: the page or the browser ended, or the GPU reported an error.
        """
        number = self.server.put(save({name: feed.detach().cpu().contiguous() for name, feed in feeds.items()}))
        found = self._call(f"ipfs.run({json.dumps(session.number)}, {json.dumps(number)})")
        if found["errors"]:
            self.alive = False
            raise BrowserFailed(f"WebGPU reported: {'; '.join(found['errors'])}")
        return load(self.server.take(number)), found["dispatches"]

    def release(self, session: Opened) -> None:
        """Let go of a session."""
        self._call(f"ipfs.release({json.dumps(session.number)})")

    def device(self) -> Adapter | None:
        """The adapter of the GPU device that the sessions compute on."""
        described = self._call("ipfs.device()")
        return adapter_of(described) if described else None

    def _call(self, expression: str) -> Any:
        try:
            return self.page.call(expression)
        except BrowserFailed:
            # What threw may have left the WebAssembly instance in any state: the next case gets another one.
            self.alive = False
            raise


def _smallest() -> bytes:
    """A graph of one node."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "smallest", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@cache
def _kept() -> dict[tuple[str, int, str], WebRuntime]:
    return {}


def shared_runtime(provider: str, threads: int, device: str = "") -> WebRuntime:
    """The runtime of this process: a GPU compiles its shaders once, and a browser starts once, for all cases. One that failed
    is replaced."""
    key, kept = (provider, threads, device), _kept()
    if key in kept and not kept[key].alive:
        failed = kept.pop(key)
        failed.browser.close()
        failed.server.close()
    if key not in kept:
        kept[key] = WebRuntime(*key)
    return kept[key]
