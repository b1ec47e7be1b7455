"""The committed vocabularies. They are data because training one is not reproducible from process to process."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cache
from importlib.resources import files
from typing import Any

_DATA = files(__package__) / "data"


def _lines(name: str) -> list[str]:
    return (_DATA / name).read_text("utf-8").splitlines()


def _byte_alphabet() -> list[str]:
    """The 256 printable characters that stand for the bytes in a byte-level BPE, as GPT-2 defined them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return sorted([chr(byte) for byte in printable] + [chr(256 + rank) for rank in range(len(others))])


@cache
def _wordpiece() -> dict[str, Any]:
    return {"vocab": {token: rank for rank, token in enumerate(_lines("wordpiece.txt"))}}


@cache
def _bytes() -> dict[str, Any]:
    merges = _lines("bytes.txt")
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *_byte_alphabet(), *(merge.replace(" ", "") for merge in merges)]
    return {
        "vocab": {token: rank for rank, token in enumerate(tokens)},
        "merges": [tuple(merge.split(" ")) for merge in merges],
    }


@cache
def _letters() -> dict[str, Any]:
    # This tokenizer takes its vocabulary as a file alone.
    return {"vocab_file": str(_DATA / "letters.json")}


_VOCABULARIES = {"wordpiece": _wordpiece, "bytes": _bytes, "letters": _letters}


def vocabulary(name: str, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Keyword arguments of a tokenizer class. ``wordpiece`` gives ``vocab``: 226 tokens, BERT's special tokens first.
    ``bytes`` gives ``vocab`` and ``merges``: 448 tokens, ``<pad> <s> </s> <unk>``, 256 bytes and 188 merges. ``letters`` gives
    the path of a CTC vocabulary of 32 tokens. The tokens of ``extra`` follow: a tokenizer that looks its special tokens up
    while it is built finds them.

    Raises:
        KeyError: there is none of that name.
    """
    loaded = {key: copy(value) for key, value in _VOCABULARIES[name]().items()}
    for token in extra:
        loaded["vocab"].setdefault(token, len(loaded["vocab"]))
    return loaded
