"""A program that speaks the DevTools protocol on its descriptors 3 and 4 as a browser does, and misbehaves as it is told.

``fake_browser.py … --mode=MODE``: ``plain``; ``dies`` at the first page; ``crashes`` its page; ``deaf``, which starts a child
and reads on when its pipe has ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def mode() -> str:
    return next(word.partition("=")[2] for word in sys.argv if word.startswith("--mode="))


def answer(message: dict[str, Any]) -> list[dict[str, Any]]:
    method, number = message["method"], message["id"]
    event = {"method": "Target.targetInfoChanged", "params": {}}
    crash = {"method": "Inspector.targetCrashed", "params": {}, "sessionId": "s"}
    results: dict[str, dict[str, Any]] = {
        "Browser.getVersion": {"product": "Fake/1.0"},
        "Target.createTarget": {"targetId": "t"},
        "Target.attachToTarget": {"sessionId": "s"},
    }
    if method == "Target.createTarget" and mode() == "dies":
        sys.stderr.write("no display\n")
        sys.exit(3)
    if method == "Runtime.evaluate":
        expression = message["params"]["expression"]
        if mode() == "crashes":
            return [event, crash]
        if expression == "throw":
            thrown = {"exceptionDetails": {"text": "Uncaught", "exception": {"description": "Error: oh"}}}
            return [{"id": number, "result": {"result": {}} | thrown}]
        return [event, {"id": number, "result": {"result": {"value": expression * 3}}}]
    if method == "Target.unknown":
        return [{"id": number, "error": {"message": "no such method"}}]
    return [event, {"id": number, "result": results.get(method, {})}]


def main() -> None:
    if mode() == "deaf":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *sys.argv[1:]], close_fds=True)
    text = b""
    while chunk := os.read(3, 65536):
        text += chunk
        while b"\0" in text:
            message, _, text = text.partition(b"\0")
            for each in answer(json.loads(message)):
                data = json.dumps(each).encode() + b"\0"
                # In two pieces: a reader must not take a piece for the whole.
                os.write(4, data[:5])
                time.sleep(0.001)
                rest = data[5:]
                while rest:
                    rest = rest[os.write(4, rest) :]
    if mode() == "deaf":
        time.sleep(600)


if __name__ == "__main__":
    main()
