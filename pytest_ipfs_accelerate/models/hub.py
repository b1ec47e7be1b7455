"""Where the files of a real checkpoint lie: a directory, a snapshot in the local Hugging Face cache, or one that is downloaded.

Only what is loaded is downloaded: configs, processors, and weights as safetensors, never pickle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import errors

from ..specs import CheckpointSource

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.spm", "*.bpe", WEIGHTS, "model-*.safetensors")
TIMEOUT = 10.0
"""Seconds that the Hub has for an answer. huggingface_hub waits for some of them for ever where it is not told."""

_HTTP_ERROR: Any = errors.HfHubHTTPError.__bases__[0]  # of httpx, or of what has taken its place
NETWORK: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, errors.LocalEntryNotFoundError, _HTTP_ERROR)
"""What is raised where the Hub cannot be reached."""

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class CheckpointUnavailable(Exception):
    """A real checkpoint that was asked for is not here and cannot be fetched; says why and how to get it. No fault of anyone's
    model or hardware: the case is skipped."""


class CheckpointRefused(Exception):
    """What lies there is no checkpoint of this model that could be loaded."""


def locate(source: CheckpointSource, model: str) -> tuple[Path, CheckpointSource]:
    """The directory of a checkpoint of the model type ``model``, and ``source`` with the commit that was found.

    Raises:
        CheckpointUnavailable: it is not in the cache, and cannot or may not be downloaded.
        CheckpointRefused: the directory holds no weights as safetensors.
    """
    if source.kind == "directory":
        directory = Path(source.place)
        if lack := lacking(directory):
            raise CheckpointRefused(f"{directory} {lack}")
        return directory, replace(source, revision=fingerprint(source))
    if not source.place:
        raise CheckpointUnavailable(
            f"the registry names no Hub id for {model}: give a checkpoint with --ipfs-checkpoint={model}=…"
        )
    directory = _downloaded(source) if source.kind == "hub" else _cached(source)
    if lack := lacking(directory):
        raise CheckpointUnavailable(f"{source.place} on the Hub {lack}")
    # A snapshot is named for its commit.
    return directory, replace(source, revision=directory.name)


def fingerprint(source: CheckpointSource) -> str:
    """Tells two states of a directory apart without reading its weights; empty for the Hub, whose snapshots do not change."""
    if source.kind != "directory":
        return ""
    found = [(path.name, path.stat()) for path in sorted(Path(source.place).glob("*")) if path.is_file()]
    return json.dumps([[name, stat.st_size, stat.st_mtime_ns] for name, stat in found])


def lacking(directory: Path) -> str:
    """What a directory lacks of a config and weights; empty where they are all there."""
    if not (directory / "config.json").exists():
        return "has no config.json" if directory.is_dir() else "is no directory"
    if (directory / WEIGHTS).exists():
        return ""
    if (directory / INDEX).exists():
        shards = set(json.loads((directory / INDEX).read_text("utf-8"))["weight_map"].values())
        missing = sorted(shard for shard in shards if not (directory / shard).exists())
        return f"lacks {len(missing)} of {len(shards)} parts of its weights: {missing[0]}" if missing else ""
    pickles = sorted(path.name for pattern in PICKLES for path in directory.glob(pattern))
    held = f": only {pickles[0]}, and pickle is never loaded" if pickles else ""
    return f"has no weights as safetensors ({WEIGHTS}){held}"


def _cached(source: CheckpointSource) -> Path:
    """The snapshot in the local cache, whole.

    Raises:
        CheckpointUnavailable: there is none.
    """
    config = huggingface_hub.try_to_load_from_cache(source.place, "config.json", revision=source.revision or None)
    remedy = f"`hf download {_words(source)}` fetches it, and so does --ipfs-weights=hub"
    if not isinstance(config, str):
        raise CheckpointUnavailable(f"{_name(source)} is not in the local Hugging Face cache: {remedy}")
    directory = Path(config).parent
    if lack := lacking(directory):
        raise CheckpointUnavailable(f"{_name(source)} in the local Hugging Face cache {lack}: {remedy}")
    return directory


def _downloaded(source: CheckpointSource) -> Path:
    """The snapshot as the Hub has it now; the cached one where the Hub cannot be reached.

    Raises:
        CheckpointUnavailable: the Hub does not give it, or cannot be reached, and it is not in the cache.
    """
    if _unreachable:
        return _cached_instead(source)
    try:
        return _fetched(source)
    except errors.GatedRepoError:
        reason = (
            f"{source.place} is gated: accept its terms at https://huggingface.co/{source.place}, and `hf auth login`"
        )
    except errors.RepositoryNotFoundError:
        reason = f"the Hub has no model {source.place}, or it is private and this user may not read it"
    except errors.RevisionNotFoundError:
        reason = f"{source.place} on the Hub has no revision {source.revision!r}"
    except NETWORK as error:
        said = str(error).strip().partition("\n")[0]
        offline = isinstance(error, errors.OfflineModeIsEnabled)
        _unreachable.append("HF_HUB_OFFLINE is set" if offline else f"{type(error).__name__}: {said}")
        return _cached_instead(source)
    raise CheckpointUnavailable(reason)


_unreachable: list[str] = []
"""Why the Hub could not be reached, once that is known: the next case need not wait for it again."""


def _fetched(source: CheckpointSource) -> Path:
    """The snapshot as the Hub has it. Not by ``snapshot_download``, whose first question has no time limit.

    Raises:
        CheckpointUnavailable: the Hub has no weights that could be loaded.
    """
    revision = source.revision or None
    info = huggingface_hub.HfApi().model_info(source.place, revision=revision, timeout=TIMEOUT)
    names = wanted(sibling.rfilename for sibling in info.siblings or ())
    if not any(name.endswith(".safetensors") for name in names) or "config.json" not in names:
        lack = "no config.json" if "config.json" not in names else f"no weights as safetensors ({WEIGHTS})"
        raise CheckpointUnavailable(f"{source.place} on the Hub has {lack}, and pickle is never loaded")
    for name in names:
        path = huggingface_hub.hf_hub_download(source.place, name, revision=revision, etag_timeout=TIMEOUT)
    return Path(path).parent


def wanted(names: Iterable[str]) -> list[str]:
    """Of the files of a repository, those that are loaded; none of a folder, where those of other runtimes lie."""
    return [name for name in names if "/" not in name and any(fnmatch(name, pattern) for pattern in WANTED)]


def _cached_instead(source: CheckpointSource) -> Path:
    try:
        return _cached(source)
    except CheckpointUnavailable:
        raise CheckpointUnavailable(
            f"{_name(source)} is not in the local Hugging Face cache, and the Hub cannot be reached ({_unreachable[0]})"
        ) from None


def _name(source: CheckpointSource) -> str:
    return f"{source.place}@{source.revision}" if source.revision else source.place


def _words(source: CheckpointSource) -> str:
    return f"{source.place} --revision {source.revision}" if source.revision else source.place
