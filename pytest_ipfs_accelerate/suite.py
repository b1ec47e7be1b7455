"""The one test function of the matrix. Every item runs it on its own case."""

from __future__ import annotations

from typing import Any

import pytest


def test_case(request: pytest.FixtureRequest, ipfs_host: Any) -> None:
    """A case passes when its verdict does."""
    request.node.run_on(ipfs_host)
