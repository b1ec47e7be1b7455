"""The precision and the device that a hardware is asked for."""

from __future__ import annotations

import pytest

from pytest_ipfs_accelerate.asked import asked_devices, asked_precisions
from pytest_ipfs_accelerate.builtin import HARDWARE
from pytest_ipfs_accelerate.settings import Settings, read_settings


def settings(clean: pytest.Pytester, *arguments: str) -> Settings:
    return read_settings(clean.parseconfig(*arguments))


def test_left_alone_each_has_its_own(clean: pytest.Pytester) -> None:
    assert asked_precisions(settings(clean), HARDWARE) == {}
    assert asked_devices(settings(clean), HARDWARE) == {}


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("cuda=fp16", {"cuda": "fp16"}),
        ("cuda=fp16,openvino=bf16", {"cuda": "fp16", "openvino": "bf16"}),
        ("bf16", {"cpu": "bf16", "cuda": "bf16", "openvino": "bf16", "apple": "bf16", "rocm": "bf16"}),
        ("cuda=fp16,bf16", {"cpu": "bf16", "cuda": "fp16", "openvino": "bf16", "apple": "bf16", "rocm": "bf16"}),
    ],
)
def test_a_precision(clean: pytest.Pytester, words: str, asked: dict[str, str]) -> None:
    assert asked_precisions(settings(clean, f"--ipfs-precision={words}"), HARDWARE) == asked


def test_a_device(clean: pytest.Pytester) -> None:
    found = asked_devices(settings(clean, "--ipfs-device=cuda=1,openvino=GPU.0,qualcomm=69"), HARDWARE)
    assert found == {"cuda": "1", "openvino": "GPU.0", "qualcomm": "69"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("precision=bf17", "no hardware computes in 'bf17'; did you mean 'bf16'*"),
        ("precision=cudda=bf16", "no hardware 'cudda'; did you mean 'cuda'?"),
        ("precision=onnxruntime=bf16", "onnxruntime does not compute in 'bf16'; it has fp32"),
        ("device=cuda", "'cuda' is not of the form cuda=1"),
        ("device=cudda=1", "no hardware 'cudda'; did you mean 'cuda'?"),
        ("device=cpu=1", "cpu has no devices to choose from"),
        ("device=openvino=TPU", "'TPU' is not a device of openvino: it must match *"),
    ],
)
def test_what_cannot_be_asked_for(clean: pytest.Pytester, option: str, message: str) -> None:
    result = clean.runpytest_inprocess("--ipfs-models=bert", f"--ipfs-{option}")
    result.stderr.fnmatch_lines([f"ERROR: --ipfs-{option.partition('=')[0]}: {message}"])


def test_the_command_that_runs_a_case_again_asks_for_the_same(clean: pytest.Pytester) -> None:
    options = ("--ipfs-models=bert", "--ipfs-tasks=fill-mask", "--ipfs-hardware=cpu", "--ipfs-precision=bf16")
    result = clean.runpytest_inprocess(*options, "--ipfs-timeout=build=0.01")
    result.stdout.fnmatch_lines(
        ["*again: *pytest ipfs/bert::fill-mask-cpu --ipfs-precision=cpu=bf16 --ipfs-timeout=build=0.01"]
    )


def test_the_soc_of_qualcomm_by_its_own_option(clean: pytest.Pytester) -> None:
    config = clean.parseconfig("--ipfs-qualcomm-soc=69")
    assert asked_devices(read_settings(config), HARDWARE) == {"qualcomm": "69"}
    config = clean.parseconfig("--ipfs-qualcomm-soc=69", "--ipfs-device=qualcomm=69")
    assert asked_devices(read_settings(config), HARDWARE) == {"qualcomm": "69"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--ipfs-qualcomm-soc=68"],
            r"--ipfs-qualcomm-soc: '68' is not a device of qualcomm: it must match 36\|43\|57",
        ),
        (
            ["--ipfs-qualcomm-soc=69", "--ipfs-device=qualcomm=57"],
            "--ipfs-qualcomm-soc: qualcomm=69, and qualcomm=57 is asked for, too",
        ),
    ],
)
def test_an_soc_that_is_none_or_two(clean: pytest.Pytester, options: list[str], words: str) -> None:
    with pytest.raises(pytest.UsageError, match=words):
        asked_devices(read_settings(clean.parseconfig(*options)), HARDWARE)
