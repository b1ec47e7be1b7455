"""What the plugin imports, and when: it loads in every pytest run of its users."""

from __future__ import annotations

import pytest

RUNTIMES = {"torch", "transformers", "openvino", "onnxruntime", "onnx", "numpy"}
OURS_IN_USE = {
    "msgspec",
    "pytest_ipfs_accelerate.registry",
    "pytest_ipfs_accelerate.host",
    "pytest_ipfs_accelerate.nodes",
}

CONFTEST = """
import atexit, sys
atexit.register(lambda: print("LOADED", *sorted(sys.modules)))
"""


def loaded(pytester: pytest.Pytester, *arguments: str) -> set[str]:
    """The modules of a whole pytest process at its end."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("def test_own(): pass")
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:anyio", *arguments)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    return set(next(line for line in result.outlines if line.startswith("LOADED")).split())


def test_unused_it_imports_nothing(clean: pytest.Pytester) -> None:
    modules = loaded(clean)
    assert "pytest_ipfs_accelerate.plugin" in modules
    assert not modules & (RUNTIMES | OURS_IN_USE)


@pytest.mark.parametrize("option", ["--collect-only", "--ipfs-list", "--markers"])
def test_planning_imports_no_runtime(clean: pytest.Pytester, option: str) -> None:
    modules = loaded(clean, "--ipfs-models=bert,vit,whisper,llava", option)
    assert "pytest_ipfs_accelerate.plan" in modules
    assert not modules & RUNTIMES


def test_running_imports_no_runtime(clean: pytest.Pytester) -> None:
    modules = loaded(clean, "-p", "fakes", "--ipfs-models=ant", "--ipfs-json=out.json")
    assert {"pytest_ipfs_accelerate.reports.json_report", "pytest_ipfs_accelerate.host", "fakes"} <= modules
    assert not modules & RUNTIMES
