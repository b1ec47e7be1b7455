"""Artifacts by content address, on disk: bytes under the CID of what they are, and an index from what they were made of to
that CID.

Any number of processes may use one directory at once. A file comes into being whole, by renaming; what is read is verified
against its name every time; and a file that is gone is one that has to be made again, whoever removed it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TAG = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# Artifacts of pytest-ipfs-accelerate; safe to delete.\n"
"""What marks a directory as a cache that may be deleted (bford.info/cachedir), and as ours."""

ROOM = 0.8
"""How full a store is left once it has thrown out what was used longest ago, as a share of its limit."""

UNFINISHED = ".new-"
"""How the name of a file begins that is being written."""

ABANDONED = 3600.0
"""Seconds after which a file that is unfinished still belongs to nobody: whoever wrote it was killed."""

_CID_V1, _RAW, _SHA2_256, _LENGTH = 0x01, 0x55, 0x12, 32
"""The codes of the multiformats tables for a CID of bytes that are a file and nothing else."""


def cid_of(data: bytes) -> str:
    """The CIDv1 of ``data``: codec raw, multihash sha2-256, in multibase base32 (github.com/multiformats/cid)."""
    multihash = bytes([_CID_V1, _RAW, _SHA2_256, _LENGTH]) + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(multihash).decode("ascii").rstrip("=").lower()


class Missing(Exception):
    """There is no artifact of that name."""


class Damaged(Missing):
    """A file does not hold what its name says. It has been removed."""


class Store:
    """A directory of artifacts that keeps within ``limit`` bytes by throwing out what was used longest ago; with a limit of 0
    it keeps nothing."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        self._size: int | None = None

    def put(self, data: bytes) -> str:
        """Keep ``data``, and say under which CID."""
        cid = cid_of(data)
        if self.limit:
            self._write(self._blob(cid), data)
            self._keep_within(len(data))
        return cid

    def get(self, cid: str) -> bytes:
        """The bytes of a CID.

        Raises:
            Missing: there are none.
            Damaged: there were other ones.
        """
        path = self._blob(cid)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise Missing(cid) from None
        if cid_of(data) != cid:
            _remove(path)
            raise Damaged(cid)
        with suppress(FileNotFoundError):
            os.utime(path)
        return data

    def link(self, key: str, cid: str) -> None:
        """Say what the artifact made of ``key``, a hexadecimal digest, is."""
        if self.limit:
            self._write(self._entry(key), cid.encode("ascii"))

    def find(self, key: str) -> str:
        """The CID of what was made of ``key``.

        Raises:
            Missing: it was never made, or not kept.
        """
        if not self.limit:
            raise Missing(key)
        try:
            return self._entry(key).read_text("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            raise Missing(key) from None

    def clear(self) -> tuple[int, int]:
        """Remove everything; how many files and bytes that were.

        Raises:
            PermissionError: the directory holds something, and is not marked as a store.
        """
        if not self.root.exists():
            return 0, 0
        if any(self.root.iterdir()) and not self._is_ours():
            raise PermissionError(f"{self.root} holds no {TAG} of pytest-ipfs-accelerate")
        sizes = [size for _, size, _ in self._files("blobs")]
        for name in ("blobs", "index"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        self._size = None
        return len(sizes), sum(sizes)

    def _is_ours(self) -> bool:
        tag = self.root / TAG
        return tag.is_file() and tag.read_text("utf-8", errors="replace") == SIGNATURE

    def _blob(self, cid: str) -> Path:
        return self.root / "blobs" / cid[-2:] / cid

    def _entry(self, key: str) -> Path:
        return self.root / "index" / key[:2] / key

    def _write(self, path: Path, data: bytes) -> None:
        """Put a file in place whole: what reads it sees all of it or none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tag = self.root / TAG
        if not tag.exists():
            tag.write_text(SIGNATURE, "utf-8")
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except BaseException:
            _remove(Path(name))
            raise

    def _keep_within(self, added: int) -> None:
        # The directory is looked through once; what other processes add is seen when this one has filled it up.
        self._size = sum(size for _, size, _ in self._files("blobs")) if self._size is None else self._size + added
        if self._size <= self.limit:
            return
        files = sorted(self._files("blobs"), key=lambda file: file[2])
        self._size = sum(size for _, size, _ in files)
        for path, size, _ in files:
            if self._size <= self.limit * ROOM:
                break
            _remove(path)
            self._size -= size
        for path, _, _ in list(self._files("index")):
            with suppress(Missing, FileNotFoundError):
                if not self._blob(self.find(path.name)).exists():
                    _remove(path)

    def _files(self, part: str) -> Iterator[tuple[Path, int, float]]:
        """Path, bytes and time of last use of every file, but those that another process is writing."""
        for path in (self.root / part).glob("*/*"):
            with suppress(FileNotFoundError):
                found = path.stat()
                if not path.name.startswith(UNFINISHED) or found.st_mtime < time.time() - ABANDONED:
                    yield path, found.st_size, found.st_mtime


def _remove(path: Path) -> None:
    # Another process may have been faster; on Windows, one that reads it keeps it for now.
    with suppress(FileNotFoundError, PermissionError):
        path.unlink()
