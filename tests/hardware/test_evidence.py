"""Evidence that the named backend ran: each kind is broken once, and found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import recipe, task_on

from pytest_ipfs_accelerate.hardware import openvino as openvino_room
from pytest_ipfs_accelerate.hardware.base import Endpoint, NotOnHardware
from pytest_ipfs_accelerate.hardware.export import Program, export_program, merges_features
from pytest_ipfs_accelerate.hardware.generate import Driver, left_to_torch, poisoned
from pytest_ipfs_accelerate.hardware.onnxruntime import PROVIDER, OnnxRuntime
from pytest_ipfs_accelerate.hardware.openvino import OpenVino, OpenVinoEndpoint
from pytest_ipfs_accelerate.hardware.torch_device import Cpu, TorchEndpoint
from pytest_ipfs_accelerate.tasks.base import Task


@pytest.fixture(scope="module")
def task() -> Task:
    return task_on(recipe("vit", "image-classification"), "image-classification")


@pytest.fixture(scope="module")
def program(task: Task) -> Program:
    return export_program(task.checkpoint, task.encode(list(task.samples())), generates=False)


@pytest.fixture(scope="module")
def speech() -> tuple[Task, Program]:
    task = task_on(recipe("whisper", "automatic-speech-recognition"), "automatic-speech-recognition")
    return task, export_program(task.checkpoint, task.encode(list(task.samples())), generates=True)


def run(endpoint: Endpoint, task: Task) -> Endpoint:
    endpoint.forward(task.encode([task.samples()[0]]))
    return endpoint


def test_onnxruntime_counts_every_node_on_its_provider(task: Task, program: Program) -> None:
    evidence = run(OnnxRuntime().lower(task.checkpoint, program), task).evidence()
    nodes = evidence["components"]["model"]["nodes by provider"]
    assert list(nodes) == [PROVIDER]
    assert nodes[PROVIDER] > 50
    assert evidence["calls"] == {"model": 1}


@pytest.mark.parametrize("assignment", [[("CUDAExecutionProvider", 3), (PROVIDER, 100)], []])
def test_a_node_elsewhere_is_found(task: Task, program: Program, assignment: list[tuple[str, int]]) -> None:
    endpoint = run(OnnxRuntime().lower(task.checkpoint, program), task)
    parts = [SimpleNamespace(ep_name=name, get_nodes=lambda count=count: [None] * count) for name, count in assignment]
    runner: Any = endpoint.runners["model"]  # type: ignore[attr-defined]
    runner.session = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    with pytest.raises(NotOnHardware, match="nodes by provider"):
        endpoint.evidence()


def test_openvino_reads_back_device_and_precision(task: Task, program: Program) -> None:
    found = run(OpenVino().lower(task.checkpoint, program), task).evidence()["components"]["model"]
    assert found["execution devices"] == ["CPU"]
    assert found["inference precision"] == "f32"
    assert found["nodes by precision"]["f32"] > 50
    assert "bf16" not in found["nodes by precision"]


@pytest.mark.parametrize(
    ("devices", "hint", "nodes"),
    [(["GPU.0"], "f32", {"f32": 9}), (["CPU"], "bf16", {"f32": 9}), (["CPU"], "f32", {"f32": 9, "bf16": 2})],
    ids=["another device", "reduced hint", "reduced nodes"],
)
def test_openvino_elsewhere_or_reduced_is_found(
    task: Task,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    devices: list[str],
    hint: str,
    nodes: dict[str, int],
) -> None:
    endpoint = run(OpenVino().lower(task.checkpoint, program), task)
    answers = {"EXECUTION_DEVICES": devices, "INFERENCE_PRECISION_HINT": SimpleNamespace(get_type_name=lambda: hint)}
    runner: Any = endpoint.runners["model"]  # type: ignore[attr-defined]
    runner.compiled_model = SimpleNamespace(get_property=answers.__getitem__)
    monkeypatch.setattr(openvino_room, "node_precisions", lambda compiled: nodes)
    with pytest.raises(NotOnHardware):
        endpoint.evidence()


def test_a_torch_model_on_another_device_is_found(task: Task) -> None:
    model = Cpu().lower(task.checkpoint, None).model
    endpoint = TorchEndpoint(model, torch.device("meta"), "meta")
    with pytest.raises(NotOnHardware, match="asked for meta, found tensors on"):
        endpoint.evidence()


def test_a_component_that_nobody_called_proves_nothing(task: Task, program: Program) -> None:
    with pytest.raises(NotOnHardware, match="never called: model"):
        OnnxRuntime().lower(task.checkpoint, program).evidence()


def test_a_generation_calls_every_stage_and_decodes_from_the_cache(speech: tuple[Task, Program]) -> None:
    task, program = speech
    endpoint = OnnxRuntime().lower(task.checkpoint, program)
    result = endpoint.generate(task.encode([task.samples()[0]]))
    assert result["tokens"].shape == (1, 8)
    assert result["logits"].shape[:2] == (1, 8)
    assert endpoint.evidence()["calls"] == {"encoder": 1, "prefill": 1, "decode": 7}


def test_torch_computing_in_a_components_place_shows(speech: tuple[Task, Program]) -> None:
    """The parameters that a component replaces are NaN in the model that drives it."""
    task, program = speech
    endpoint = OnnxRuntime().lower(task.checkpoint, program)
    modules = {name: component.module for name, component in program.components.items()}
    driver = Driver(task.checkpoint.model, endpoint.runners, modules)  # type: ignore[attr-defined]
    assert all(parameter.isnan().all() for parameter in driver.model.parameters())
    driver._replacements = list  # type: ignore[method-assign]
    encoded = task.encode([task.samples()[0]])
    decoder = task.decoder_tokens
    outputs = driver.forward({**encoded, "decoder_input_ids": decoder})
    assert outputs.logits.isnan().all()


def test_forwards_are_put_back_after_a_failure(speech: tuple[Task, Program]) -> None:
    task, program = speech
    driver = OnnxRuntime().lower(task.checkpoint, program).driver  # type: ignore[attr-defined]
    with pytest.raises((RuntimeError, ValueError)):
        driver.generate({"input_features": torch.zeros(1, 3, 7)})
    assert not [name for name, module in driver.model.named_modules() if "forward" in module.__dict__]


def test_the_exported_bytes_hold_no_path_of_the_machine(program: Program) -> None:
    for component in program.components.values():
        assert b"site-packages" not in component.onnx
        assert b"/modeling_" not in component.onnx


def test_openvino_asks_for_f32(task: Task, program: Program) -> None:
    endpoint = OpenVino(threads=2).lower(task.checkpoint, program)
    assert isinstance(endpoint, OpenVinoEndpoint)
    assert endpoint.precision == "fp32"
    compiled = endpoint.runners["model"].compiled_model  # type: ignore[attr-defined]
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


def test_torch_computing_with_a_matrix_of_its_own_is_found() -> None:
    """A model that is exported in parts may look tokens up; what multiplies must be in a part."""
    task = task_on(recipe("llava", "pretraining"), "pretraining")
    model = task.checkpoint.model
    parts = {"language_model": "model.language_model", "image_encoder": "model.vision_tower", "lm_head": "lm_head"}
    whole = parts | {"multi_modal_projector": "model.multi_modal_projector"}
    assert left_to_torch(poisoned(model, whole)) == ["model.language_model.embed_tokens.weight"]
    with pytest.raises(NotOnHardware, match=r"torch computes with 2 matrices: model\.multi_modal_projector"):
        left_to_torch(poisoned(model, parts))


def test_a_contrastive_model_is_one_graph() -> None:
    task = task_on(recipe("clip", "feature-extraction"), "feature-extraction")
    assert not merges_features(task.checkpoint.model)
    task = task_on(recipe("llava", "pretraining"), "pretraining")
    assert merges_features(task.checkpoint.model)


class Transducer(torch.nn.Module):
    """Generates without keeping its logits, as speech transducers do."""

    dtype = torch.float32

    def forward(self, step: int) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.full((1, 1, 4), float(step)))

    def generate(self, **options: Any) -> dict[str, torch.Tensor]:
        for step in range(3):
            self(step)
        return {"sequences": torch.tensor([[9, 1, 2, 3]])}


def test_the_numbers_of_a_generation_that_keeps_none_are_those_of_its_steps() -> None:
    model = Transducer()
    for _ in range(2):  # nothing is left on the model after the first
        outputs = TorchEndpoint(model, torch.device("cpu"), "cpu").generate({})
        assert outputs["tokens"].tolist() == [[1, 2, 3]]
        assert outputs["logits"][0, :, 0].tolist() == [0.0, 1.0, 2.0]
