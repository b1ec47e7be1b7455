"""Evidence that the named backend ran: each kind is broken once, and found."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import REGISTRY, job, recipe, task_on
from onnxruntime import GraphOptimizationLevel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import create_causal_mask
from transformers.models.inkling import modeling_inkling

from pytest_ipfs_accelerate.bench import forms_of
from pytest_ipfs_accelerate.hardware import openvino as openvino_room
from pytest_ipfs_accelerate.hardware.base import Endpoint, NotOnHardware
from pytest_ipfs_accelerate.hardware.caches import CACHES, cache_length, in_decode
from pytest_ipfs_accelerate.hardware.export import (
    Program,
    export_program,
)
from pytest_ipfs_accelerate.hardware.generate import (
    Driver,
    masks_written_out,
)
from pytest_ipfs_accelerate.hardware.onnxruntime import OnnxRuntime
from pytest_ipfs_accelerate.hardware.openvino import OpenVino, OpenVinoEndpoint
from pytest_ipfs_accelerate.hardware.parts import first_and_last, inner_generator, left_over, merges_features
from pytest_ipfs_accelerate.hardware.torch_device import Cpu, Cuda, TorchEndpoint
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import open_task
from pytest_ipfs_accelerate.tasks.base import Task

PROVIDER = "CPUExecutionProvider"


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


def test_a_node_elsewhere_is_counted_where_it_is_allowed(task: Task, program: Program) -> None:
    endpoint = run(OnnxRuntime(allow_fallback=True).lower(task.checkpoint, program), task)
    assert "fallback" not in endpoint.evidence(), "nothing ran elsewhere"
    parts = [
        SimpleNamespace(ep_name=name, get_nodes=lambda count=count: [None] * count)  # type: ignore[misc]
        for name, count in (("CUDAExecutionProvider", 3), (PROVIDER, 100))
    ]
    endpoint._evidence.clear()  # type: ignore[attr-defined]
    runner: Any = endpoint.runners["model"]  # type: ignore[attr-defined]
    runner.session = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    assert endpoint.evidence()["fallback"] == {
        "nodes elsewhere": 3,
        "nodes in all": 103,
        "matrices multiplied by torch": 0,
    }


def test_a_provider_that_this_build_of_onnxruntime_lacks(task: Task, program: Program) -> None:
    with pytest.raises(NotOnHardware, match=r"CUDA was asked for; this build of ONNX Runtime has .*CPU"):
        OnnxRuntime(device="CUDA:1").lower(task.checkpoint, program)


def test_onnxruntime_has_a_twin_without_optimisations(task: Task, program: Program) -> None:
    endpoint = OnnxRuntime().lower(task.checkpoint, program)
    (twin,) = endpoint.twins().values()
    assert twin.twins() == {}, "a twin has none of its own"
    levels = [
        found.runners["model"].session.get_session_options().graph_optimization_level  # type: ignore[attr-defined]
        for found in (endpoint, twin)
    ]
    assert levels == [GraphOptimizationLevel.ORT_ENABLE_ALL, GraphOptimizationLevel.ORT_DISABLE_ALL]


def test_openvino_reads_back_device_and_precision(task: Task, program: Program) -> None:
    found = run(OpenVino().lower(task.checkpoint, program), task).evidence()["components"]["model"]
    assert found["execution devices"] == ["CPU"]
    assert found["inference precision"] == "f32"
    assert found["nodes by precision"]["f32"] > 50
    assert "bf16" not in found["nodes by precision"]


@pytest.mark.parametrize(
    ("asked", "devices", "hint", "nodes"),
    [
        ("fp32", ["GPU.0"], "f32", {"f32": 9}),
        ("fp32", ["CPU"], "bf16", {"f32": 9}),
        ("fp32", ["CPU"], "f32", {"f32": 9, "bf16": 2}),
        ("bf16", ["CPU"], "f32", {"bf16": 9}),
        ("bf16", ["CPU"], "bf16", {"f32": 9}),
    ],
    ids=["another device", "reduced hint", "reduced nodes", "hint not reduced", "nodes not reduced"],
)
def test_openvino_elsewhere_or_reduced_is_found(
    task: Task,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    devices: list[str],
    hint: str,
    nodes: dict[str, int],
) -> None:
    endpoint = run(OpenVino().lower(task.checkpoint, program), task)
    endpoint.precision = asked
    answers = {"EXECUTION_DEVICES": devices, "INFERENCE_PRECISION_HINT": SimpleNamespace(get_type_name=lambda: hint)}
    runner: Any = endpoint.runners["model"]  # type: ignore[attr-defined]
    runner.compiled_model = SimpleNamespace(get_property=answers.__getitem__)
    monkeypatch.setattr(openvino_room, "node_precisions", lambda compiled: nodes)
    with pytest.raises(NotOnHardware):
        endpoint.evidence()


def test_openvino_in_integers_is_held_against_the_same_graph_elsewhere() -> None:
    task = task_on(recipe("resnet", "image-classification"), "image-classification")
    program = export_program(task.checkpoint, task.encode(list(task.samples())), generates=False)
    endpoint = run(OpenVino(precision="int8").lower(task.checkpoint, program), task)
    nodes = endpoint.evidence()["components"]["model"]["nodes by precision"]
    assert nodes["i8"] or nodes["u8"]
    own: Any = endpoint.own_reference()
    assert own.program is endpoint.program  # type: ignore[attr-defined]
    floats = run(OpenVino().lower(task.checkpoint, program), task)
    assert floats.own_reference() is None
    floats.precision = "int8"
    floats._evidence.clear()  # type: ignore[attr-defined]
    with pytest.raises(NotOnHardware, match="int8 was asked for; nodes by precision are"):
        floats.evidence()


def test_a_device_that_openvino_does_not_see(task: Task, program: Program) -> None:
    with pytest.raises(NotOnHardware, match=r"GPU\.7 was asked for; OpenVINO sees .*CPU"):
        OpenVino(device="GPU.7").lower(task.checkpoint, program)


def test_a_gpu_that_torch_does_not_see(task: Task) -> None:
    with pytest.raises(NotOnHardware, match="cuda:99 was asked for; torch sees"):
        Cuda(device="99").lower(task.checkpoint, None)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_torch_computes_in_the_precision_that_was_asked_for(task: Task, precision: str) -> None:
    endpoint = run(Cpu(precision=precision).lower(task.checkpoint, None), task)
    assert endpoint.precision == precision
    assert endpoint.evidence()["parameters in"] == [precision]


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


def test_a_language_model_inside_generates() -> None:
    """The generate of blip-2 hands all to its language model and never calls its own forward: the stages are that one's."""
    asked = job("blip-2", "image-text-to-text", "cpu")
    task = open_task(asked, build_checkpoint(asked.recipe))
    model = task.checkpoint.model
    assert inner_generator(model) == "language_model"
    for name in ("llava", "bert", "whisper"):
        task_of = next(iter(REGISTRY.tasks(name)))
        assert inner_generator(task_on(recipe(name, task_of), task_of).checkpoint.model) == ""
    inputs = forms_of(task)["batch"].encoded
    stages = first_and_last(model, model.language_model, inputs)
    assert not in_decode(stages["prefill"][1])
    assert in_decode(stages["decode"][1])

    class Inner(SimpleNamespace):
        """Runs a stage on the language model that was not poisoned, as a runtime would."""

        def __call__(self, share_inputs: bool, **arguments: Any) -> Any:
            return model.language_model(**arguments)

    described = {
        name: {} for name in ("inputs_embeds", "attention_mask", "position_ids", "input_ids", "past_key_values")
    }
    runners: Any = {name: Inner(metadata=SimpleNamespace(kwargs=described)) for name in stages}
    driver = Driver(model, runners, dict.fromkeys(stages, "language_model"))
    found = driver.generate(inputs)
    assert torch.equal(found["tokens"], Cpu().lower(task.checkpoint, None).generate(inputs)["tokens"])
    assert driver.calls == {"prefill": 1, "decode": found["tokens"].shape[1] - 1}
    layer = driver.model.get_submodule("language_model.model.decoder.layers.0.fc1")
    assert layer.weight.isnan().all()


def test_what_the_known_parts_leave_over_is_exported_too() -> None:
    task = task_on(recipe("llava", "pretraining"), "pretraining")
    model, encoded = task.checkpoint.model, task.encode(list(task.samples()))
    known = ["model.language_model", "model.vision_tower", "lm_head"]
    assert list(left_over(model, encoded, known)) == ["model.multi_modal_projector"]
    (arguments,) = left_over(model, encoded, known).values()
    assert [tuple(value.shape[::2]) for value in arguments.values()] == [(2, 64)]
    assert left_over(model, encoded, [*known, "model.multi_modal_projector"]) == {}
    assert left_over(model, encoded, [*known, "model.multi_modal_projector.linear_1"]).keys() == {
        "model.multi_modal_projector.linear_2"
    }


def test_a_model_that_keeps_no_cache_has_no_decode_step() -> None:
    plain = recipe("bert", "text-generation")
    generation = {**plain.inputs["generation"], "use_cache": False}
    task = task_on(replace(plain, inputs={**plain.inputs, "generation": generation}), "text-generation")
    program = export_program(task.checkpoint, task.encode(list(task.samples())), generates=True)
    assert list(program.components) == ["prefill"]
    endpoint = OnnxRuntime().lower(task.checkpoint, program)
    tokens = endpoint.generate(task.encode([task.samples()[0]]))["tokens"]
    assert endpoint.evidence()["calls"] == {"prefill": tokens.shape[1]}


@pytest.mark.parametrize(
    ("lengths", "states", "length", "decodes"),
    [([], [], 0, False), ([0, 0], [], 0, False), ([0, 5], [], 5, True), ([], [False], 0, False), ([], [True], 0, True)],
    ids=["no cache", "empty", "the second layer", "no state", "a state"],
)
def test_which_step_a_cache_belongs_to(lengths: list[int], states: list[bool], length: int, decodes: bool) -> None:
    layers: list[Any] = [DynamicLayer() for _ in lengths]
    for layer, positions in zip(layers, lengths, strict=True):
        if positions:
            layer.update(torch.ones(1, 1, positions, 2), torch.ones(1, 1, positions, 2))
    layers += [SimpleNamespace(has_previous_state={0: state}) for state in states]
    arguments = {"past_key_values": SimpleNamespace(layers=layers)} if layers else {}
    assert (cache_length(arguments), in_decode(arguments)) == (length, decodes)


def test_xlnet_remembers_hidden_states_for_a_cache() -> None:
    assert "mems" in CACHES
    remembered = {"mems": (torch.ones(5, 2, 4), torch.ones(5, 2, 4))}
    assert (cache_length(remembered), in_decode(remembered)) == (5, True)
    for nothing in ({}, {"mems": None}, {"mems": ()}):
        assert (cache_length(nothing), in_decode(nothing)) == (0, False)


def test_masks_are_written_out_for_a_time() -> None:
    config = task_on(recipe("llava", "pretraining"), "pretraining").checkpoint.config.text_config
    config._attn_implementation = "sdpa"
    arguments = {"inputs_embeds": torch.ones(1, 5, 64), "attention_mask": torch.ones(1, 5), "past_key_values": None}
    assert create_causal_mask(config, **arguments) is None
    with masks_written_out():
        assert create_causal_mask(config, **arguments).shape == (1, 1, 5, 5)
    assert create_causal_mask(config, **arguments) is None


def test_the_mask_of_a_recurrent_layer_is_written_out_for_a_time() -> None:
    def made(length: int, mask: Any) -> Any:
        return modeling_inkling.create_recurrent_attention_mask(
            config=None, inputs_embeds=torch.ones(2, length, 4), attention_mask=mask
        )

    padded = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    nothing = (torch.ones_like(padded), None, torch.ones(2, 1, 5, 5))
    assert [made(3, mask) for mask in nothing] == [None] * 3
    with masks_written_out():
        assert torch.equal(made(3, torch.ones_like(padded)), torch.ones(2, 3).long())
        assert torch.equal(made(3, None), torch.ones(2, 3).long())
        assert torch.equal(made(5, padded), padded)
        assert [made(3, nothing[2]), made(1, padded)] == [None, None]
    assert [made(3, mask) for mask in nothing] == [None] * 3


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


def test_xlstm_counts_for_itself_how_far_it_is() -> None:
    for offset in (0, 7):
        arguments = {"cache_params": SimpleNamespace(seqlen_offset=torch.tensor([offset]))}
        assert in_decode(arguments) is (offset > 0)
    assert not in_decode({"cache_params": None})
