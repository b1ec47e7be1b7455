"""Whether a class writes into its own package while it runs, or changes the checkpoint that it is given."""

from __future__ import annotations

import os
from pathlib import Path

from ...specs import SkillSource
from ..findings import Check, Finding

Snapshot = dict[str, tuple[int, int]]
"""Size in bytes and time of change in nanoseconds, by path."""

_LEFT_OUT = ("__pycache__", "site-packages", "dist-packages", "node_modules")


def package_of(source: SkillSource) -> Path:
    """The directory of a class's own package: the topmost one of its module, or where its file stands."""
    parts = source.module.split(".")
    return Path(source.root, parts[0]) if len(parts) > 1 else Path(source.file).parent


def snapshot(directory: Path) -> Snapshot:
    """Every file below a directory. What hides, and what Python and its installers write, is left out."""
    found: Snapshot = {}
    for place, directories, names in os.walk(directory):
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".")
            and name not in _LEFT_OUT
            and not os.path.exists(os.path.join(place, name, "pyvenv.cfg"))
        ]
        for name in names:
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue  # gone between the listing and the look, or a link to nowhere
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def check_files(before: Snapshot, after: Snapshot) -> list[Finding]:
    """What was written, changed or removed between two snapshots."""
    kinds = {
        "wrote": after.keys() - before.keys(),
        "changed": {path for path in after.keys() & before.keys() if after[path] != before[path]},
        "removed": before.keys() - after.keys(),
    }
    return [
        Finding(check=Check.FILES, says=f"it {kind} {path}, in its own package", file=path)
        for kind, paths in kinds.items()
        for path in sorted(paths)
    ]


def check_checkpoint(before: Snapshot, after: Snapshot) -> list[Finding]:
    """What was done to the checkpoint between two snapshots. A file beside it, such as a converted model, is a note: others
    will find it there."""
    kinds = {
        "changed": {path for path in after.keys() & before.keys() if after[path] != before[path]},
        "removed": before.keys() - after.keys(),
        "wrote": after.keys() - before.keys(),
    }
    return [
        Finding(
            check=Check.FILES,
            says=f"it {kind} {os.path.basename(path)}, in the checkpoint that it was given",
            note=kind == "wrote",
        )
        for kind, paths in kinds.items()
        for path in sorted(paths)
    ]
