"""Artifacts by content address: named by what they are, verified on every read, and no more of them than fit."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from pytest_ipfs_accelerate.store import ABANDONED, TAG, Damaged, Missing, Store, cid_of

MB = 10**6


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", MB)


@pytest.mark.parametrize(
    ("data", "cid"),
    [
        # As IPFS itself names them: ipfs add --cid-version=1 --raw-leaves
        (b"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
    ],
)
def test_the_name_of_bytes_is_the_one_of_ipfs(data: bytes, cid: str) -> None:
    assert cid_of(data) == cid


def test_what_was_put_is_found_again(store: Store) -> None:
    cid = store.put(b"a graph")
    store.link("ab12", cid)
    again = Store(store.root, MB)
    assert again.get(again.find("ab12")) == b"a graph"


def test_what_never_was_is_missing(store: Store) -> None:
    with pytest.raises(Missing):
        store.find("ab12")
    with pytest.raises(Missing):
        store.get(cid_of(b"never"))


@pytest.mark.parametrize("damage", [b"", b"a grapH", b"a graph and more"])
def test_a_damaged_file_is_found_out_and_removed(store: Store, damage: bytes) -> None:
    cid = store.put(b"a graph")
    (path,) = store.root.glob("blobs/*/*")
    path.write_bytes(damage)
    with pytest.raises(Damaged, match=cid):
        store.get(cid)
    with pytest.raises(Missing) as missing:
        store.get(cid)
    assert not isinstance(missing.value, Damaged)
    store.put(b"a graph")
    assert store.get(cid) == b"a graph"


def test_a_damaged_entry_of_the_index_is_a_missing_one(store: Store) -> None:
    store.link("ab12", store.put(b"a graph"))
    (path,) = store.root.glob("index/*/*")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Missing):
        store.find("ab12")
    path.write_bytes(b"no-such-cid")
    with pytest.raises(Missing):
        store.get(store.find("ab12"))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 1000)
    cids = [store.put(bytes([number]) * 300) for number in range(3)]
    for age, cid in enumerate(cids):
        store.link(f"0{age}", cid)
        (path,) = tmp_path.glob(f"blobs/*/{cid}")
        os.utime(path, (age, age))
    assert store.get(cids[0])  # used again: now the second is the oldest
    last = store.put(b"x" * 300)
    for cid in (cids[0], last):
        assert store.get(cid)
    for number in (1, 2):
        with pytest.raises(Missing):
            store.get(cids[number])
        with pytest.raises(Missing):
            store.find(f"0{number}")
    assert store.find("00") == cids[0]


def test_a_store_without_room_keeps_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", 0)
    assert store.put(b"a graph") == cid_of(b"a graph")
    store.link("ab12", cid_of(b"a graph"))
    assert not (tmp_path / "cache").exists()


def test_clearing(store: Store) -> None:
    assert store.clear() == (0, 0)
    store.link("ab12", store.put(b"a graph"))
    assert store.clear() == (1, 7)
    assert [path.name for path in store.root.iterdir()] == [TAG]
    store.put(b"a graph")
    assert store.clear() == (1, 7)


def test_a_directory_of_somebody_else_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "thesis").write_text("years of work")
    with pytest.raises(PermissionError, match=TAG):
        Store(tmp_path, MB).clear()
    assert (tmp_path / "blobs" / "thesis").exists()


def write_and_read(root: Path) -> int:
    """Put and get the same artifacts that other processes put and get, in a store too small for them."""
    store = Store(root, 40_000)
    seen = 0
    for number in range(100):
        data = bytes([number % 20]) * 3000
        cid = store.put(data)
        store.link(f"{number % 20:02x}", cid)
        try:
            assert store.get(store.find(f"{number % 20:02x}")) == data
            seen += 1
        except Damaged:
            raise
        except Missing:
            pass  # thrown out by another process in the meantime
    return seen


def test_processes_share_a_store(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        seen = list(pool.map(write_and_read, [tmp_path] * 4))
    assert min(seen) > 50
    assert not list(tmp_path.glob("*/*/.new-*"))


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    """To throw it out would take it from under the one that renames it; one that was left behind is thrown out."""
    store = Store(tmp_path, 10_000)
    blob = tmp_path / "blobs" / "aa"
    blob.mkdir(parents=True)
    written, left = blob / ".new-written", blob / ".new-left"
    for path in (written, left):
        path.write_bytes(bytes(3000))
    long_ago = time.time() - 2 * ABANDONED
    os.utime(left, (long_ago, long_ago))
    for number in range(8):
        store.put(bytes([number]) * 3000)
    assert written.exists()
    assert not left.exists()
