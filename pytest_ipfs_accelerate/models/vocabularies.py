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


@cache
def _unigram() -> dict[str, Any]:
    # The words of the WordPiece vocabulary, each once at the start of a word and its letters within one. The scores are
    # logarithms of made-up frequencies: a whole word is always likelier than its letters.
    lines = [line for line in _lines("wordpiece.txt") if not line.startswith("[")]
    pieces = {"<pad>": 0.0, "<s>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -4.0}
    pieces |= {f"▁{line}": -3.0 for line in lines if not line.startswith("##")}
    pieces |= {line.removeprefix("##"): -8.0 for line in lines if len(line.removeprefix("##")) == 1}
    return {"vocab": list(pieces.items())}


_VOCABULARIES = {"wordpiece": _wordpiece, "bytes": _bytes, "letters": _letters, "unigram": _unigram}


def vocabulary(name: str, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Keyword arguments of a tokenizer class. ``wordpiece`` gives ``vocab``: 226 tokens, BERT's special tokens first.
    ``bytes`` gives ``vocab`` and ``merges``: 448 tokens, ``<pad> <s> </s> <unk>``, 256 bytes and 188 merges. ``letters`` gives
    the path of a CTC vocabulary of 32 tokens. ``unigram`` gives ``vocab`` as pieces with scores: 264 of them, ``<pad> <s> </s>
    <unk>`` first. The tokens of ``extra`` follow: a tokenizer that looks its special tokens up
    while it is built finds them.

    Raises:
        KeyError: there is none of that name.
    """
    loaded = {key: copy(value) for key, value in _VOCABULARIES[name]().items()}
    for token in extra:
        if isinstance(loaded["vocab"], dict):
            loaded["vocab"].setdefault(token, len(loaded["vocab"]))
        elif token not in dict(loaded["vocab"]):
            loaded["vocab"].append((token, 0.0))
    return loaded
