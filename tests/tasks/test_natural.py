"""The forms in which older workers give their inputs, each against the form that the task takes."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import recipe, task_on

from pytest_ipfs_accelerate.models.samples import picture, sound
from pytest_ipfs_accelerate.tasks.base import Task
from pytest_ipfs_accelerate.tasks.natural import natural_input, sound_of


def read(task: Task, *given: Any, **named: Any) -> Any:
    return natural_input(task, given, named)


def task(model: str, name: str) -> Task:
    return task_on(recipe(model, name), name)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    picture(5).save(path)
    return path


def written(path: Path, samples: Any, *, width: int = 2, rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def test_a_picture_may_be_a_path(image: Path) -> None:
    vit = task("vit", "image-classification")
    expected = vit.encode([picture(5)])["pixel_values"]
    for given in (image, str(image)):
        assert torch.equal(vit.encode(vit.batch(read(vit, given)))["pixel_values"], expected)
    assert len(read(vit, [image, picture(6)])) == 2
    with pytest.raises(FileNotFoundError):
        read(vit, image.with_name("dog.png"))


def test_a_sound_may_be_an_array_or_a_path(tmp_path: Path) -> None:
    whisper = task("whisper", "automatic-speech-recognition")
    samples = (sound(3) * 2**15).astype("<i2")
    path = written(tmp_path / "said.wav", samples)
    for given in (path, str(path), samples / np.float32(2**15)):
        found = read(whisper, given)
        assert found["sampling_rate"] == 16_000
        assert np.array_equal(found["raw"], samples / np.float32(2**15))
    stereo = written(tmp_path / "both.wav", np.repeat(samples, 2), rate=8_000, channels=2)
    assert np.array_equal(sound_of(stereo)[0], samples / np.float32(2**15))
    assert sound_of(stereo)[1] == 8_000
    with pytest.raises(ValueError, match="8-bit samples"):
        sound_of(written(tmp_path / "old.wav", samples.astype("u1"), width=1))
    (tmp_path / "no.wav").write_text("no sound")
    with pytest.raises(ValueError, match="not a WAV file"):
        sound_of(tmp_path / "no.wav")


def test_a_text_and_its_picture_may_be_two_arguments(image: Path) -> None:
    llava = task("llava", "image-text-to-text")
    expected = {"text": "<image> what is in the image ?", "images": picture(5)}
    texts = ("what is in the image ?", "<image> what is in the image ?")
    for found in (
        *(read(llava, text, picture(5)) for text in texts),
        read(llava, str(image), texts[0]),
        read(llava, (texts[0], image)),
        read(llava, texts[1], images=image),
    ):
        assert found["text"] == expected["text"]
        assert found["images"].tobytes() == expected["images"].tobytes()
    assert [item["text"] for item in read(llava, ["one", "two"], [image, image])] == ["<image> one", "<image> two"]
    with pytest.raises(TypeError, match="different lengths"):
        read(llava, ["one", "two"], [image])
    with pytest.raises(TypeError, match="images is missing"):
        read(llava, "what is in the image ?")


def test_a_question_and_its_context_may_be_two_arguments() -> None:
    bert = task("bert", "question-answering")
    expected = {"question": "who ?", "context": "she said"}
    assert read(bert, "who ?", "she said") == read(bert, context="she said", question="who ?") == expected
    assert read(bert, expected) == expected
    with pytest.raises(TypeError, match="takes no input 'contxt'; it takes question, context"):
        read(bert, "who ?", contxt="she said")
    with pytest.raises(TypeError, match="got 3 inputs"):
        read(bert, "who ?", "she", "said")


def test_labels_come_after_the_picture(image: Path) -> None:
    clip = task("clip", "zero-shot-image-classification")
    found = read(clip, image, ["a cat", "a dog"])
    assert found["candidate_labels"] == ["a cat", "a dog"]
    assert found["image"].size == (48, 48)


def test_what_a_task_takes_already_is_left_as_it_is() -> None:
    for model, name in (("bert", "fill-mask"), ("bert", "multiple-choice"), ("llava", "image-text-to-text")):
        each = task(model, name)
        for sample in each.samples():
            assert read(each, sample) is sample
    with pytest.raises(TypeError, match="takes one input, and got 2"):
        read(task("bert", "fill-mask"), "a [MASK]", "b")
