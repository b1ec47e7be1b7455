"""What can be seen of ONNX Runtime Web without a browser: what is missing, the log, the server, the adapter."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from pytest_ipfs_accelerate.hardware import probes
from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.web import find
from pytest_ipfs_accelerate.hardware.web.find import find_browser, find_runtime, needed, runtime_version
from pytest_ipfs_accelerate.hardware.web.placements import integer_nodes, read_placements
from pytest_ipfs_accelerate.hardware.web.runtime import adapter_of
from pytest_ipfs_accelerate.hardware.web.server import Server
from pytest_ipfs_accelerate.verdict import Implementation

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a browser is driven over pipes, on Linux and macOS")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A directory like that of the package, with empty files."""
    place = tmp_path / "package" / "dist"
    place.mkdir(parents=True)
    for name in {*needed("wasm"), *needed("webgpu")}:
        (place / name).write_text(f"// {name}", "utf-8")
    (place.parent / "package.json").write_text('{"version": "1.30.0"}', "utf-8")
    return place


@pytest.fixture
def fake(tmp_path: Path) -> str:
    program = tmp_path / "fake-browser"
    script = Path(__file__).with_name("fake_browser.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', "utf-8")
    program.chmod(0o755)
    return str(program)


# What is missing


def test_a_browser_is_found_on_the_path_or_named(fake: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_browser({find.BROWSER: fake}) == (fake, "")
    assert find_browser({find.BROWSER: "/nowhere/chrome"}) == (
        "",
        "CHROME_PATH is /nowhere/chrome, which is no program",
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(find, "APPLICATIONS", ())
    path, why = find_browser({})
    assert (path, "apt install chromium" in why, "set CHROME_PATH" in why) == ("", True, True)
    (tmp_path / "google-chrome").symlink_to(fake)
    assert find_browser({}) == (str(tmp_path / "google-chrome"), "")


def test_the_runtime_is_found_above_or_named(dist: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_runtime("wasm", {find.RUNTIME: str(dist)}) == (dist, "")
    assert (
        find_runtime("wasm", {find.RUNTIME: "/nowhere"})[1] == "ONNXRUNTIME_WEB_DIST is /nowhere, which is no directory"
    )
    project = tmp_path / "project"
    (project / "deep").mkdir(parents=True)
    monkeypatch.chdir(project / "deep")
    assert "npm install onnxruntime-web" in find_runtime("wasm", {})[1]
    (project / "node_modules").mkdir()
    (project / "node_modules/onnxruntime-web").symlink_to(dist.parent)
    assert find_runtime("wasm", {}) == (project / find.INSTALLED, "")
    (dist / "ort.webgpu.min.mjs").unlink()
    assert find_runtime("wasm", {})[1] == ""
    assert "lacks ort.webgpu.min.mjs: npm install onnxruntime-web@latest" in find_runtime("webgpu", {})[1]


def test_the_version_of_the_runtime(dist: Path, tmp_path: Path) -> None:
    assert runtime_version(dist) == "1.30.0"
    assert runtime_version(tmp_path) == ""


def test_the_probes_name_all_that_is_missing(dist: Path, fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "missing", lambda *modules, extra="": "")
    monkeypatch.setattr(probes, "no_exporters", lambda: "")
    monkeypatch.setattr(probes, "find_browser", lambda: ("", "no browser"))
    monkeypatch.setattr(probes, "find_runtime", lambda provider: (None, f"no files for {provider}"))
    assert probes.wasm().reason == "no browser; no files for wasm"
    assert probes.webgpu().reason == "no browser; no files for webgpu"
    monkeypatch.setattr(probes, "find_browser", lambda: (fake, ""))
    monkeypatch.setattr(probes, "find_runtime", lambda provider: (dist, ""))
    assert probes.wasm().device == f"{fake}, onnxruntime-web 1.30.0"
    monkeypatch.setattr(sys, "platform", "win32")
    assert probes.wasm().reason == "a browser is driven over pipes, on Linux and macOS"


def test_a_machine_without_a_gpu_is_told_before_the_run(
    dist: Path, fake: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probes, "missing", lambda *modules, extra="": "")
    monkeypatch.setattr(probes, "no_exporters", lambda: "")
    monkeypatch.setattr(probes, "find_browser", lambda: (fake, ""))
    monkeypatch.setattr(probes, "find_runtime", lambda provider: (dist, ""))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(probes, "GPU_FILES", (f"{tmp_path}/renderD*",))
    found = probes.webgpu()
    assert found.implementation is Implementation.SIMULATOR
    assert found.device.startswith("SwiftShader (software adapter, no GPU), ")
    (tmp_path / "renderD128").touch()
    assert probes.webgpu().implementation is Implementation.REAL


# The server


@pytest.fixture
def server(dist: Path) -> Iterator[Server]:
    server = Server(dist)
    yield server
    server.close()


def fetch(address: str, data: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, data=data), timeout=10) as answer:
        return answer.read(), answer.headers


def test_the_page_is_isolated_and_asks_nobody_else(server: Server) -> None:
    page, headers = fetch(server.address)
    assert b"page.mjs" in page
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    script, headers = fetch(f"{server.address}ort/ort.wasm.min.mjs")
    assert (script, headers["Content-Type"]) == (b"// ort.wasm.min.mjs", "text/javascript")
    assert server.address.startswith("http://127.0.0.1:")


def test_bytes_travel_once_in_both_directions(server: Server) -> None:
    blob = bytes(range(256)) * 5000
    number = server.put(blob)
    assert fetch(f"{server.address}in/{number}")[0] == blob
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{server.address}in/{number}")
    fetch(f"{server.address}out/{number}", blob)
    assert server.take(number) == blob
    with pytest.raises(KeyError):
        server.take(number)


@pytest.mark.parametrize("path", ["", "page.html", "wrong/", "wrong/page.html", "../../etc/passwd"])
def test_who_does_not_know_the_address_gets_nothing(server: Server, path: str) -> None:
    root = "/".join(server.address.split("/")[:3])
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{root}/{path}")


@pytest.mark.parametrize("path", ["ort/../page.mjs", "ort/package.json", "../x", "out/7"])
def test_what_is_not_offered_is_not_served(server: Server, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{server.address}{path}")


def test_nobody_writes_but_what_comes_out(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{server.address}in/1", b"x")


# The log

HEAD = "2026-11-24 13:40:13.901040 [V:onnxruntime:, session_state.cc:1383 VerifyEachNodeIsAssignedToAnEp]"
LOG = [
    "[I:onnxruntime:, inference_session.cc:764 TraceSessionOptions] Session Options",
    f"{HEAD}  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 2",
    f"{HEAD}   Cast (node__to_copy)",
    f"{HEAD}   GatherND (node GatherND (60))",
    f"{HEAD}  Node(s) placed on [WebGpuExecutionProvider]. Number of nodes: 99",
    f"{HEAD}   Gather (node_embedding)",
    f"{HEAD}   MemcpyFromHost (Memcpy)",
]


def test_placements_are_read_from_the_log() -> None:
    one = read_placements([f"{HEAD}  All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 91"])
    assert (one.counts, one.names) == ({"WebGpuExecutionProvider": 91}, {})
    several = read_placements(LOG)
    assert several.counts == {"CPUExecutionProvider": 2, "WebGpuExecutionProvider": 98}, "a copy computes nothing"
    assert several.names["CPUExecutionProvider"] == ("Cast (node__to_copy)", "GatherND (node GatherND (60))")


def test_a_subgraph_is_added() -> None:
    found = read_placements([f"{HEAD}  All nodes placed on [CPUExecutionProvider]. Number of nodes: 5", *LOG])
    assert found.counts["CPUExecutionProvider"] == 7
    assert len(found.names["CPUExecutionProvider"]) == 2, "the five have no names that speak for them"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([], "did not log where"),
        (["Node(s) placed on [CPUExecutionProvider]. Number of nodes: 2"], "did not log where"),
        ([LOG[1].replace("nodes: 2", "nodes: 1"), *LOG[2:]], "more nodes on CPUExecutionProvider than it counts"),
    ],
)
def test_a_log_that_says_nothing_or_too_much_proves_nothing(log: list[str], words: str) -> None:
    with pytest.raises(NotOnHardware, match=words):
        read_placements(log)


def test_only_what_never_computes_with_numbers_is_left_to_the_cpu() -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["bits"], "to_bool", to=TensorProto.BOOL),
        helper.make_node("Cast", ["ids"], ["numbers"], "to_float", to=TensorProto.FLOAT),
        helper.make_node("Not", ["bits"], ["inverted"], "not"),
        helper.make_node("Exp", ["numbers"], ["large"], "exp"),
        helper.make_node("Cast", ["large"], ["half"], "to_half", to=TensorProto.FLOAT16),
        helper.make_node("Greater", ["large", "numbers"], ["wins"], "greater"),
        helper.make_node("Mystery", ["ids"], ["unknown"], "mystery", domain="somebody.else"),
        helper.make_node("Cast", ["unknown"], ["given"], "from_unknown", to=TensorProto.INT64),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    types = {"bits": 9, "numbers": 1, "inverted": 9, "large": 1, "half": 10, "wins": 9, "given": 7}
    known = [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in types.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [ids], known),
        opset_imports=[helper.make_opsetid(name, 17) for name in ("", "somebody.else")],
    )
    assert integer_nodes(model.SerializeToString()) == {"Cast (to_bool)", "Cast (to_float)", "Not (not)"}


# The adapter

SWIFTSHADER = {"vendor": "google", "architecture": "swiftshader", "description": "SwiftShader Device (Subzero)"}


@pytest.mark.parametrize(
    ("described", "name", "software"),
    [
        ({**SWIFTSHADER, "fallback": True}, "SwiftShader Device (Subzero) (software adapter, no GPU)", True),
        ({**SWIFTSHADER, "fallback": False}, "SwiftShader Device (Subzero) (software adapter, no GPU)", True),
        (
            {"vendor": "mesa", "description": "llvmpipe (LLVM 15)"},
            "llvmpipe (LLVM 15) (software adapter, no GPU)",
            True,
        ),
        ({"description": "Something new", "type": "CPU"}, "Something new (software adapter, no GPU)", True),
        ({"vendor": "nvidia", "architecture": "hopper", "fallback": False}, "nvidia hopper", False),
        ({"description": "NVIDIA H100", "type": "discrete GPU"}, "NVIDIA H100", False),
        ({}, "an adapter without a name", False),
    ],
)
def test_a_software_adapter_is_called_one(described: dict[str, Any], name: str, software: bool) -> None:
    found = adapter_of(described)
    assert (found.name, found.software) == (name, software)
