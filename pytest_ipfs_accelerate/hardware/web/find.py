"""Where the two things are that a user has to bring: files only, so that a probe can ask."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

BROWSER = "CHROME_PATH"
RUNTIME = "ONNXRUNTIME_WEB_DIST"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chromium-headless-shell",
    "microsoft-edge",
)
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
INSTALLED = Path("node_modules/onnxruntime-web/dist")


def needed(provider: str) -> tuple[str, ...]:
    """The files of ONNX Runtime Web that a page loads for an execution provider."""
    binary = "ort-wasm-simd-threaded" + (".asyncify" if provider == "webgpu" else "")
    return (f"ort.{provider}.min.mjs", f"{binary}.mjs", f"{binary}.wasm")


def find_browser(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """The path of a browser of the Chromium family, and why there is none: one of the two is empty."""
    if named := environment.get(BROWSER):
        found = shutil.which(named)
        return (found, "") if found else ("", f"{BROWSER} is {named}, which is no program")
    for name in (*NAMES, *APPLICATIONS):
        if found := shutil.which(name):
            return found, ""
    return "", f"no Chrome or Chromium on PATH: install one (apt install chromium), or set {BROWSER} to it"


def find_runtime(provider: str, environment: Mapping[str, str] = os.environ) -> tuple[Path | None, str]:
    """The directory of ONNX Runtime Web's files, and why there is none: ``None``, or empty."""
    named = environment.get(RUNTIME)
    here = Path.cwd()
    places = [Path(named).absolute()] if named else [folder / INSTALLED for folder in (here, *here.parents)]
    place = next((place for place in places if place.is_dir()), None)
    if place is None:
        if named:
            return None, f"{RUNTIME} is {named}, which is no directory"
        return None, (
            f"onnxruntime-web is not in {INSTALLED.parts[0]} of this directory or of one above it: "
            f"npm install onnxruntime-web, or set {RUNTIME} to its directory dist"
        )
    if lacking := [name for name in needed(provider) if not (place / name).is_file()]:
        return None, f"{place} lacks {', '.join(lacking)}: npm install onnxruntime-web@latest"
    return place, ""


def runtime_version(place: Path) -> str:
    """The version of the package that a directory ``dist`` belongs to; empty where no package.json says it."""
    try:
        return str(json.loads((place.parent / "package.json").read_text("utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return ""
