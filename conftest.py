"""Set-up of this repository's own tests."""

from __future__ import annotations

import os

# Before transformers is imported anywhere: nothing here may ask a network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]
