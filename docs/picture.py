"""Draws the text of a pytest run as an SVG picture of a terminal.

Run from a checkout, on a file that holds the output of a run of 100 columns::

    COLUMNS=100 pytest --ipfs-models=bert,vit,whisper,llava > run.txt
    python docs/picture.py run.txt docs/images/run.svg "pytest --ipfs-models=bert,vit,whisper,llava"

The third argument is the command that the picture shows above the output. The line ``rootdir:`` is left out: it names a
directory of whoever ran it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

CHARACTER_WIDTH = 8.4
"""Of the fonts below at ``FONT_SIZE``, in pixels; ``textLength`` holds every line to it, whatever font is there."""
LINE_HEIGHT = 19
FONT_SIZE = 14
MARGIN = 16
FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
COLOURS = {"plain": "#d4d4d4", "green": "#6fcf7c", "yellow": "#e2c15d", "red": "#f07a7a"}

_CELL = r"(?<![\w.-])(?P<passed>\d+)/(?P<run>\d+)(?![\w.-])"
_WORD = r"(?P<green>\d+ passed)|(?P<yellow>\d+ skipped|^unavailable|^not reached|^deselected)|(?P<red>\d+ (?:failed|errors?))"
_COLOURED = re.compile(f"{_CELL}|{_WORD}")


def spans(line: str) -> Iterator[tuple[int, str, str]]:
    """The column, colour and text of each piece of a line."""
    end = 0
    for match in _COLOURED.finditer(line):
        if match.start() > end:
            yield end, "plain", line[end : match.start()]
        if match["passed"] is not None:
            colour = "green" if match["passed"] == match["run"] else "red"
        else:
            colour = str(match.lastgroup)
        yield match.start(), colour, match.group()
        end = match.end()
    if end < len(line):
        yield end, "plain", line[end:]


def picture(lines: list[str]) -> str:
    """An SVG of the lines."""
    width = round(max(map(len, lines)) * CHARACTER_WIDTH + 2 * MARGIN)
    height = round(len(lines) * LINE_HEIGHT + 2 * MARGIN)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="Output of a run">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#1e1e1e"/>',
        f'<g font-family="{FONTS}" font-size="{FONT_SIZE}">',
    ]
    for index, line in enumerate(lines):
        y = MARGIN + index * LINE_HEIGHT + FONT_SIZE
        for column, colour, text in spans(line):
            left = len(text) - len(text.lstrip())
            text = text.strip()
            if not text:
                continue
            x, length = MARGIN + (column + left) * CHARACTER_WIDTH, len(text) * CHARACTER_WIDTH
            drawn.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs" xml:space="preserve"'
                f' fill="{COLOURS[colour]}">{escape(text)}</text>'
            )
    return "\n".join([*drawn, "</g>", "</svg>"]) + "\n"


def main(source: str, target: str, command: str) -> None:
    lines = Path(source).read_text("utf-8").rstrip().splitlines()
    shown = [line.rstrip() for line in lines if not line.startswith("rootdir:")]
    Path(target).write_text(picture([f"$ {command}", *shown]), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
