"""ONNX Runtime Web broken on purpose, one fault each, by import path; apart from ``sabotage``, since it needs a browser."""

from __future__ import annotations

from typing import Any

from sabotage import Constant, Maskless, RowMixing, Scaled, broken, halved

from pytest_ipfs_accelerate.hardware.web.onnxruntime_web import Wasm, WebEndpoint, WebGpu
from pytest_ipfs_accelerate.hardware.web.runtime import WebRuntime


class _WebGpuEndpoint(WebEndpoint):
    """The same, made with the arguments that every endpoint of ``broken`` gets."""

    def __init__(self, program: Any, threads: int) -> None:
        super().__init__(program, threads, "webgpu")


for _fault in (Scaled, Maskless, Constant, RowMixing):
    globals()[f"{_fault.__name__}Wasm"] = broken(_fault, Wasm, WebEndpoint)
    globals()[f"{_fault.__name__}WebGpu"] = broken(_fault, WebGpu, _WebGpuEndpoint)


class HalvedWasm(Wasm):
    """Its graphs hold fp16."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        return super().lower(checkpoint, halved(program))


class FallenBackWebGpu(WebGpu):
    """Asked for WebGPU, and computes in WebAssembly without a word."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        for runner in endpoint.runners.values():
            runner.runtime = WebRuntime("wasm", self.threads)
        return endpoint


class IdleWebGpu(WebGpu):
    """Says that all nodes are on WebGPU, and gives it nothing to do."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        for runner in endpoint.runners.values():
            plain = runner.runtime.run
            runner.runtime = _Idle(runner.runtime, plain)
        return endpoint


class _Idle:
    def __init__(self, runtime: Any, run: Any) -> None:
        self._runtime, self._run = runtime, run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, session: Any, feeds: Any) -> Any:
        return self._run(session, feeds)[0], 0


class OtherAdapterWebGpu(WebGpu):
    """The device computes on another adapter than the one that the browser offered."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint: Any = super().lower(checkpoint, program)
        endpoint.runtime = _OtherAdapter(endpoint.runtime)
        return endpoint


class _OtherAdapter:
    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def device(self) -> None:
        return None


class _Ending(Wasm):
    """Something happens to the page when it is to compute."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.forward = lambda inputs: self.happens(endpoint.runtime)  # type: ignore[attr-defined]
        return endpoint


class CrashingWasm(_Ending):
    """Its page crashes."""

    def happens(self, runtime: Any) -> Any:
        page = runtime.page
        page._browser.command("Page.crash", page._session)
        return runtime.page.call("1")


class ThrowingWasm(_Ending):
    """Its page throws."""

    def happens(self, runtime: Any) -> Any:
        return runtime.page.call("Promise.reject(new Error('out of memory'))")


class HangingWasm(_Ending):
    """Its page never answers."""

    def happens(self, runtime: Any) -> Any:
        return runtime.page.call("(() => { for (;;); })()")
