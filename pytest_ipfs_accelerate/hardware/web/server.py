"""What a page is served from: this process, on the loopback interface alone, under an address that nobody can guess."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

PAGE = "page.html"
SCRIPT = "page.mjs"
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}

ISOLATED = {
    # Without these two a page has no shared memory, and WebAssembly no threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    # And this one keeps it from asking anybody else for anything.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
}


class Server:
    """Serves a page, the files of ONNX Runtime Web, and bytes by number, in both directions. Ends with this process."""

    def __init__(self, runtime: Path) -> None:
        self.files = {name: Path(__file__).with_name(name) for name in (PAGE, SCRIPT)}
        self.files |= {f"ort/{file.name}": file for file in runtime.iterdir() if file.suffix in TYPES}
        self._blobs: dict[str, bytes] = {}
        self._number = 0
        self._secret = secrets.token_urlsafe(24)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/{self._secret}/"

    def put(self, blob: bytes) -> str:
        """The number under which a page gets these bytes, once."""
        self._number += 1
        self._blobs[f"in/{self._number}"] = blob
        return str(self._number)

    def take(self, number: str) -> bytes:
        """The bytes that a page sent under a number.

        Raises:
            KeyError: it sent none.
        """
        return self._blobs.pop(f"out/{number}")

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """The bytes and the type of what is at a path; ``None`` where nothing is."""
        name = self._name(path)
        if name is None:
            return None
        if (blob := self._blobs.pop(name, None)) is not None:
            return blob, "application/octet-stream"
        file = self.files.get(name or PAGE)
        return (file.read_bytes(), TYPES[file.suffix]) if file is not None else None

    def receive(self, path: str, blob: bytes) -> bool:
        name = self._name(path)
        if name is None or not name.startswith("out/"):
            return False
        self._blobs[name] = blob
        return True

    def _name(self, path: str) -> str | None:
        _, secret, name = [*unquote(path.partition("?")[0]).split("/", 2), "", ""][:3]
        return name if secrets.compare_digest(secret.encode(), self._secret.encode()) else None

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the head and the body of an answer wait for each other, 40 ms at a time.
    disable_nagle_algorithm = True

    def __init__(self, server: Server, *arguments: Any) -> None:
        self.room = server
        super().__init__(*arguments)

    def do_GET(self) -> None:
        found = self.room.answer(self.path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, b"", {"Content-Type": "text/plain"})
        else:
            self._send(HTTPStatus.OK, found[0], {"Content-Type": found[1], **ISOLATED})

    def do_POST(self) -> None:
        blob = self.rfile.read(int(self.headers["Content-Length"]))
        taken = self.room.receive(self.path, blob)
        self._send(HTTPStatus.NO_CONTENT if taken else HTTPStatus.NOT_FOUND, b"", ISOLATED)

    def _send(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nobody reads it."""
