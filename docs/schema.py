"""Writes docs/verdict.schema.json, the JSON Schema of the file that ``--ipfs-json`` writes.

Run from a checkout with the project installed::

    python docs/schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from pytest_ipfs_accelerate.reports.json_report import Report

FILE = Path(__file__).with_name("verdict.schema.json")


def schema() -> str:
    """The schema as text, as it stands in the file."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Report)}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(schema(), "utf-8")
