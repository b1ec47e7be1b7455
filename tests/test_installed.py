"""Another transformers than the one that the registry is pinned to: what it lacks is reported, what it adds is proposed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from conftest import Run
from pytest_ipfs_accelerate import installed
from pytest_ipfs_accelerate.registry import load_registry

HEADS: dict[str, Any] = {
    "ant": {"category": "language", "tasks": {"fill-mask": {"class": "BertForMaskedLM"}}},
    "cricket": {"category": "language", "tasks": {"text-generation": {"class": "CricketForCausalLM"}}},
}


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ipfs_accelerate.plan.installed_version", lambda: "9.0.0")
    monkeypatch.setattr("pytest_ipfs_accelerate.plan.installed_heads", lambda: HEADS)
    classes = installed.installed_classes() - {"ViTModel"} | {"CricketForCausalLM"}
    monkeypatch.setattr("pytest_ipfs_accelerate.plan.installed_classes", lambda: classes)


@pytest.mark.usefixtures("newer")
def test_what_it_lacks_is_skipped_with_the_reason(run: Run) -> None:
    result = run("--ipfs-models=ant,bee", "--ipfs-hardware=cpu", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "ipfs: transformers 9.0.0 has it, the registry, made for *, has no row: * proposed on the spot",
            "ipfs: this transformers lacks * rows of * model types",
            "SKIPPED*transformers 9.0.0 has no ViTModel",
        ]
    )


@pytest.mark.usefixtures("newer")
def test_what_it_adds_is_a_case(run: Run) -> None:
    result = run("--ipfs-models=cricket", "--ipfs-hardware=cpu", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ipfs/cricket::text-generation-cpu PASSED*"])


def test_the_pinned_one_is_not_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError("asked for the heads of the pinned transformers")

    monkeypatch.setattr("pytest_ipfs_accelerate.plan.installed_heads", never)
    assert run("--ipfs-models=ant", "--ipfs-hardware=cpu").ret == 0


def test_the_heads_are_read_in_a_process_of_their_own() -> None:
    found = installed.installed_heads()
    assert found["bert"]["category"] == "language"
    assert found["vit"]["tasks"]["image-classification"] == {"class": "ViTForImageClassification"}


def test_every_class_of_the_registry_is_one_of_the_pinned_transformers() -> None:
    classes = installed.installed_classes()
    registry = load_registry()
    rows = [registry.raw(model) for model in registry]
    assert {row["config_class"] for row in rows} <= classes
    assert {head["class"] for row in rows for head in row["tasks"].values()} <= classes


WITHOUT_EXPORTERS = """
import sys
sys.modules["transformers.exporters"] = None  # as in transformers before 5.23
from cases import job
from pytest_ipfs_accelerate.runner import run_case
verdict = run_case(job("gpt2", "text-generation", "cpu"), lambda stage: None)
print(verdict.outcome, verdict.reason, *(name for name in ("onnx", "onnxscript") if name in sys.modules))
"""


def test_an_older_one_without_exporters_runs_on_the_cpu() -> None:
    """What reads exported programs needs them alone; a case on torch's own hardware imports neither them nor ONNX."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", WITHOUT_EXPORTERS]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1].split() == ["passed"], found.stdout
