"""Checkpoints of the Hub: found in the local cache, downloaded only where that was asked for, skipped in words otherwise."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from cases import recipe
from huggingface_hub import constants, errors
from real import REVISION, cached, on_hub

from pytest_ipfs_accelerate.models import hub
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.models.hub import CheckpointRefused, CheckpointUnavailable

PLACE = "somebody/tiny-bert"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a Hub that nobody has tried to reach yet."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "_unreachable", [])
    return tmp_path / "hub"


@pytest.mark.parametrize("kind", ["cache", "hub"])
@pytest.mark.parametrize("revision", ["", "main", REVISION])
def test_what_is_in_the_cache_is_loaded_offline(cache: Path, kind: str, revision: str) -> None:
    cached(cache, PLACE, seed=7)
    found = build_checkpoint(on_hub(kind, PLACE, revision))
    assert found.digest != build_checkpoint(recipe("bert", "fill-mask")).digest
    expected = {"source": kind, "id": PLACE, "revision": REVISION, "newly initialised": [], "unused": []}
    assert found.origin == expected


def test_what_is_not_is_unavailable_and_the_reason_says_how_to_get_it(cache: Path) -> None:
    with pytest.raises(CheckpointUnavailable) as found:
        build_checkpoint(on_hub("cache", PLACE))
    assert str(found.value) == (
        f"{PLACE} is not in the local Hugging Face cache: `hf download {PLACE}` fetches it, and so does --ipfs-weights=hub"
    )
    cached(cache, PLACE)
    with pytest.raises(CheckpointUnavailable, match=rf"{PLACE}@v2 is not in .*`hf download {PLACE} --revision v2`"):
        build_checkpoint(on_hub("cache", PLACE, "v2"))


def test_what_is_there_in_part_is_not_there(cache: Path) -> None:
    (cached(cache, PLACE) / "model.safetensors").unlink()
    with pytest.raises(CheckpointUnavailable, match="in the local Hugging Face cache has no weights as safetensors"):
        build_checkpoint(on_hub("cache", PLACE))


def test_one_of_another_type_is_refused(cache: Path) -> None:
    cached(cache, PLACE, "vit", "image-classification")
    with pytest.raises(CheckpointRefused, match="says model_type 'vit', not 'bert'"):
        build_checkpoint(on_hub("cache", PLACE))


def test_a_row_that_names_none(cache: Path) -> None:
    with pytest.raises(
        CheckpointUnavailable, match="names no Hub id for bert: give a checkpoint with --ipfs-checkpoint=b"
    ):
        build_checkpoint(on_hub("hub", ""))


def test_a_hub_that_is_forbidden_is_not_asked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointUnavailable, match=r"and the Hub cannot be reached \(HF_HUB_OFFLINE is set\)"):
        build_checkpoint(on_hub("hub", PLACE))


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a Hub that takes a call and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "refuses"])
def test_a_hub_that_cannot_be_reached_ends_in_seconds(cache: Path, silent: str, hangs: bool) -> None:
    """In a process of its own: huggingface_hub reads where the Hub is when it is imported."""
    code = (
        "from real import *; found = []\n"
        "for name in ('a/b', 'a/c'):\n"
        "    try: build_checkpoint(on_hub('hub', name))\n"
        "    except Exception as error: found.append(f'{type(error).__name__}: {error}')\n"
        "print(*found, sep='\\n')"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": silent if hangs else "http://127.0.0.1:9",
        "NO_PROXY": "*",
    }
    started = time.monotonic()
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert time.monotonic() - started < 10 * hub.TIMEOUT
    lines = answer.stdout.strip().splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("a/b", "a/c"), strict=True):
        assert line.startswith(
            f"CheckpointUnavailable: {name} is not in the local Hugging Face cache, and the Hub cannot be"
        )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            errors.GatedRepoError,
            "is gated: accept its terms at https://huggingface.co/somebody/tiny-bert, and `hf auth login`",
        ),
        (errors.RepositoryNotFoundError, "the Hub has no model somebody/tiny-bert, or it is private"),
        (errors.RevisionNotFoundError, "somebody/tiny-bert on the Hub has no revision 'v9'"),
        (errors.HfHubHTTPError, r"the Hub cannot be reached \(HfHubHTTPError: 503\)"),
        (TimeoutError, r"the Hub cannot be reached \(TimeoutError: 503\)"),
    ],
)
def test_what_the_hub_says_is_told_apart(
    cache: Path, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> object:
        raise error("503", response=response()) if issubclass(error, errors.HfHubHTTPError) else error("503")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(CheckpointUnavailable, match=words):
        build_checkpoint(on_hub("hub", PLACE, "v9"))


def response() -> SimpleNamespace:
    request = SimpleNamespace(url="https://huggingface.co/api/models/x", headers={}, method="GET")
    return SimpleNamespace(status_code=503, headers={}, request=request)


NAMES = (
    *("config.json", "tokenizer.json", "vocab.txt", "model.safetensors", "model-00001-of-00002.safetensors"),
    *("pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "tf_model.h5", "model.fp16.safetensors", "code.py"),
)


@pytest.fixture
def fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are asked of a Hub which has those of ``NAMES``."""
    asked: list[str] = []
    siblings = [SimpleNamespace(rfilename=name) for name in NAMES]
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **b: SimpleNamespace(siblings=siblings))

    def download(place: str, name: str, **options: object) -> str:
        asked.append(name)
        assert options["etag_timeout"] == hub.TIMEOUT
        return str(cache / f"models--{place.replace('/', '--')}" / "snapshots" / REVISION / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_what_is_asked_of_the_hub(fetched: list[str], cache: Path) -> None:
    """Nothing that is pickle or code, and nothing of another runtime that lies beside the weights."""
    cached(cache, PLACE)
    found = build_checkpoint(on_hub("hub", PLACE))
    assert fetched == list(NAMES[:5])
    assert (found.origin["source"], found.origin["revision"]) == ("hub", REVISION)


def test_pickle_is_not_even_downloaded(fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = [
        SimpleNamespace(rfilename=name) for name in ("config.json", "pytorch_model.bin", "onnx/model.safetensors")
    ]
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **b: SimpleNamespace(siblings=siblings))
    with pytest.raises(CheckpointUnavailable, match=r"has no weights as safetensors .*, and pickle is never loaded"):
        build_checkpoint(on_hub("hub", PLACE))
    assert fetched == []


def test_nothing_is_downloaded_where_only_the_cache_was_asked_for(fetched: list[str]) -> None:
    with pytest.raises(CheckpointUnavailable, match="is not in the local"):
        build_checkpoint(on_hub("cache", PLACE))
    assert fetched == []
