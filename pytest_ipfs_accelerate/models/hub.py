"""Where the files of a real checkpoint lie: a directory, a snapshot in the local Hugging Face cache, or one that is downloaded.

Only what is loaded is downloaded: configs, processors, and weights as safetensors, never pickle.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import huggingface_hub
from huggingface_hub import errors

from ..specs import CheckpointSource

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.spm", "*.bpe", WEIGHTS, "model-*.safetensors")
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
    """What a directory lacks of the weights; empty where they are all there."""
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
    try:
        return Path(_snapshot(source))
    except errors.GatedRepoError:
        reason = (
            f"{source.place} is gated: accept its terms at https://huggingface.co/{source.place}, and `hf auth login`"
        )
    except errors.RepositoryNotFoundError:
        reason = f"the Hub has no model {source.place}, or it is private and this user may not read it"
    except errors.RevisionNotFoundError:
        reason = f"{source.place} on the Hub has no revision {source.revision!r}"
    except (OSError, errors.HfHubHTTPError) as error:
        return _cached_instead(source, error)
    raise CheckpointUnavailable(reason)


_unreachable: list[str] = []
"""Why the Hub could not be reached, once that is known: the next case need not wait for it again."""


def _snapshot(source: CheckpointSource) -> str:
    return huggingface_hub.snapshot_download(
        source.place,
        revision=source.revision or None,
        local_files_only=bool(_unreachable),
        allow_patterns=list(WANTED),
        ignore_patterns=["*/*"],
    )


def _cached_instead(source: CheckpointSource, error: BaseException) -> Path:
    if not _unreachable:
        cause = error.__cause__ or error
        offline = isinstance(cause, errors.OfflineModeIsEnabled)
        said = str(cause).strip().partition("\n")[0]
        _unreachable.append("HF_HUB_OFFLINE is set" if offline else f"{type(cause).__name__}: {said}")
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
