"""Graphs as the HTP has compiled them, in the store: compiling is more than half of what a case on it costs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import onnxruntime_qnn
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from onnxruntime_qnn.build_and_package_info import qnn_version

from ..store import Damaged, Missing, Store
from .base import NotOnHardware

PROVIDER = "QNNExecutionProvider"

Options = Callable[[], onnxruntime.SessionOptions]
"""Makes the options of a session: a session changes those that it is given."""


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A session, how many nodes of its graph each provider was given when it was compiled, the CID of what was compiled where
    that is kept, whether it was there already, what was wrong with what was, the shapes of the outputs that it gives in
    others, and for the outputs that are to be cut, the one that says to how many."""

    session: onnxruntime.InferenceSession
    nodes: Mapping[str, int]
    cid: str = ""
    kept: bool = False
    warning: str = ""
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    totals: Mapping[str, str] = field(default_factory=dict)


def context_key(model: bytes, *asked: object) -> str:
    """Two graphs with this key compile to the same: the bytes, the sizes and device asked for, and the versions."""
    versions = (onnxruntime.__version__, onnxruntime_qnn.__version__, qnn_version)
    return hashlib.sha256(model + json.dumps([asked, versions], default=str).encode()).hexdigest()


def open_compiled(model: bytes, options: Options, key: str, store: Store | None) -> Compiled:
    """A session of a graph: from what is kept of it, or compiled now, and kept where all of it is on the HTP.

    Raises:
        NotOnHardware: what was kept does not open on the HTP alone.
    """
    warning = ""
    if store is not None:
        try:
            return _from_store(store, store.find(key), options)
        except Damaged as damaged:
            warning = f"the compiled graph {damaged} in {store.root} was damaged; it is made again"
        except Missing:
            pass
    if store is None or not store.limit:
        session = _session(model, options(), options)
        return Compiled(session, assigned(session))
    with TemporaryDirectory() as directory:
        path = Path(directory, "context.onnx")
        compiling = options()
        for entry, value in (("enable", "1"), ("embed_mode", "1"), ("file_path", str(path))):
            compiling.add_session_config_entry(f"ep.context_{entry}", value)
        session = _session(model, compiling, options)
        nodes = assigned(session)
        # What is partly elsewhere is compiled each time, so that its evidence is each time that of the whole.
        if set(nodes) != {PROVIDER} or not path.exists():
            return Compiled(session, nodes, warning=warning)
        cid = store.put(path.read_bytes())
    store.link(key, store.put(json.dumps({"context": cid, "nodes": nodes}, sort_keys=True).encode()))
    return Compiled(session, nodes, cid, warning=warning)


def _from_store(store: Store, manifest_cid: str, options: Options) -> Compiled:
    manifest = json.loads(store.get(manifest_cid))
    session = onnxruntime.InferenceSession(store.get(manifest["context"]), options())
    if set(found := assigned(session)) != {PROVIDER}:
        raise NotOnHardware(f"a compiled graph opened on {found}")
    return Compiled(session, manifest["nodes"], manifest["context"], kept=True)


def _session(model: bytes, asked: onnxruntime.SessionOptions, options: Options) -> onnxruntime.InferenceSession:
    """A session of a graph, opened as ``asked``.

    Raises:
        NotOnHardware: the HTP does not take some of its operators; says which.
    """
    try:
        return onnxruntime.InferenceSession(model, asked)
    except Fail as refusal:
        if "assigned to the default CPU EP" not in str(refusal):
            raise
        mixed = options()
        mixed.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
        refused = refused_operators(onnxruntime.InferenceSession(model, mixed))
        said = ", ".join(f"{kind} ({count})" for kind, count in refused.items())
        raise NotOnHardware(f"the HTP does not take {said or 'some of the operators'}") from refusal


def refused_operators(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """How many nodes of a session are elsewhere than on the HTP, by their operator, the most frequent first."""
    parts = session.get_provider_graph_assignment_info()
    found = Counter(node.op_type for part in parts if part.ep_name != PROVIDER for node in part.get_nodes())
    return dict(found.most_common())


def assigned(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """Nodes by provider."""
    found: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        found[part.ep_name] += len(part.get_nodes())
    return dict(found)
