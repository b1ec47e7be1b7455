"""ONNX Runtime Web in a page of a headless browser, as an object of this process: sessions, and tensors in and out."""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from ..base import NotOnHardware
from .devtools import Browser, BrowserFailed, Page
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


class WebBrowser:
    """A browser for one execution provider, and what its pages are served from.

    Raises:
        NotOnHardware: there is no such browser, or no ONNX Runtime Web.
        BrowserFailed: the browser does not start.
    """

    def __init__(self, provider: str, device: str) -> None:
        executable, why = find_browser()
        place, lacking = find_runtime(provider)
        if not executable or place is None:
            raise NotOnHardware(why or lacking)
        self.server = Server(place)
        self.browser = Browser(executable, [*FLAGS[provider], *([SWIFTSHADER] if device == SOFTWARE else [])])
        self.spent: list[Page] = []
        """Pages that nobody needs any more. A garbage collector adds to them, in the midst of a command, say: they are closed
        when the next one opens."""

    def page(self) -> Page:
        while self.spent:
            self.spent.pop().close()
        return self.browser.open(self.server.address)

    def close(self) -> None:
        self.browser.close()
        self.server.close()


_browsers: dict[tuple[str, str], WebBrowser] = {}


def shared_browser(provider: str, device: str) -> WebBrowser:
    """The browser of this process: it starts once for all cases. One that has ended is replaced."""
    key = (provider, device)
    if key in _browsers and not _browsers[key].browser.alive:
        _browsers.pop(key).close()
    if key not in _browsers:
        _browsers[key] = WebBrowser(*key)
    return _browsers[key]


class WebRuntime:
    """A page in which ONNX Runtime Web is loaded for one execution provider, with a GPU device of its own.

    Every endpoint has its own: with onnxruntime-web 1.30, a generation of bert in a page where its next-sentence-prediction ran
    before comes out wrong by 16 %, and alone it is right. What the runtime keeps for a device is not told apart by all that it
    depends on.

    Raises:
        NotOnHardware: there is no such browser, runtime, adapter or device.
        BrowserFailed: the browser does not start, or the page does not load.
    """

    def __init__(self, provider: str, threads: int, device: str = "") -> None:
        shared = shared_browser(provider, device)
        self.server, self.browser = shared.server, shared.browser
        self.page = shared.page()
        weakref.finalize(self, shared.spent.append, self.page).atexit = False
        self._loaded()
        self.adapter = self._adapter(device) if provider == "webgpu" else None
        started = self.page.call(f"ipfs.start({json.dumps(provider)}, {threads})")
        self.version: str = started["version"]
        if threads > 1 and not started["isolated"]:
            raise BrowserFailed("the page is not isolated, and WebAssembly has no threads in it")
        self.threads = threads

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

    def open(self, model: bytes, sizes: Mapping[str, int]) -> Opened:
        """A session of an ONNX file, its dynamic dimensions of these ``sizes`` fixed."""
        number = self.server.put(model)
        options = {"freeDimensionOverrides": dict(sizes)}
        found = self.page.call(f"ipfs.open({json.dumps(number)}, {json.dumps(options)})")
        return Opened(number, tuple(found["inputs"]), tuple(found["outputs"]), tuple(found["log"]))

    def run(self, session: Opened, feeds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """The outputs of a session by name, bit by bit as the page held them, and how many dispatches the GPU was given.

        Raises:
            BrowserFailed: the page or the browser ended, or the GPU reported an error.
        """
        number = self.server.put(save({name: feed.detach().cpu().contiguous() for name, feed in feeds.items()}))
        found = self.page.call(f"ipfs.run({json.dumps(session.number)}, {json.dumps(number)})")
        if found["errors"]:
            raise BrowserFailed(f"WebGPU reported: {'; '.join(found['errors'])}")
        return load(self.server.take(number)), found["dispatches"]

    def release(self, session: Opened) -> None:
        """Let go of a session."""
        self.page.call(f"ipfs.release({json.dumps(session.number)})")

    def device(self) -> Adapter | None:
        """The adapter of the GPU device that the sessions compute on."""
        described = self.page.call("ipfs.device()")
        return adapter_of(described) if described else None
