"""What went wrong, in a line."""

from __future__ import annotations

import pytest

from pytest_ipfs_accelerate.runner import describe

SPLIT = """Exception from src/inference/src/cpp/core.cpp:105:
Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:
FrontEnd API failed with OpConversionFailure:
-- SplitToSequence-20 with a message:
Check 'axis_dimension.is_static()' failed at src/frontends/onnx/frontend/src/op/split_to_sequence.cpp:48:
the axis is dynamic
"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (ValueError(""), "ValueError"),
        (RuntimeError(SPLIT), "RuntimeError: FrontEnd API failed with OpConversionFailure: the axis is dynamic"),
        (RuntimeError("Exception from src/a.cpp:7:\n"), "RuntimeError: Exception from src/a.cpp:7:"),
    ],
)
def test_the_line_says_what_and_not_where_in_a_runtimes_source(error: Exception, words: str) -> None:
    assert describe(error) == words


def test_the_cause_is_named() -> None:
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    assert describe(error) == "ValueError: outer, caused by KeyError: 'inner'"
