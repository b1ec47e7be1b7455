"""The skill classes of a user, found without importing anything."""

from __future__ import annotations
