"""What a hardware is asked for: the precision and the device, from the words of ``--ipfs-precision`` and ``--ipfs-device``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from .settings import Settings
from .specs import HardwareSpec
from .words import nearest


def asked_precisions(settings: Settings, hardware: Mapping[str, HardwareSpec]) -> dict[str, str]:
    """By hardware: the precision that it is asked for. ``bf16`` asks every hardware that has it, ``cuda=fp16`` one.

    Raises:
        pytest.UsageError: there is no such hardware, or none that has the precision.
    """
    source = settings.sources.get("precision", "")
    found: dict[str, str] = {}
    for word in sorted(settings.precision, key=lambda word: "=" in word):  # what is said of one hardware wins
        name, _, precision = word.rpartition("=")
        having = [spec.name for spec in hardware.values() if precision in spec.precisions]
        known = dict.fromkeys(precision for spec in hardware.values() for precision in spec.precisions)
        if not having:
            raise pytest.UsageError(f"{source}: no hardware computes in {precision!r}{nearest(precision, known)}")
        if name and precision not in _spec(name, hardware, source).precisions:
            offered = ", ".join(hardware[name].precisions)
            raise pytest.UsageError(f"{source}: {name} does not compute in {precision!r}; it has {offered}")
        found.update(dict.fromkeys([name] if name else having, precision))
    return found


def asked_devices(settings: Settings, hardware: Mapping[str, HardwareSpec]) -> dict[str, str]:
    """By hardware: the device that it is asked for. Whether the machine has it is found out where it is opened.

    Raises:
        pytest.UsageError: there is no such hardware, or it has no devices of that name.
    """
    asked = [(word, settings.sources["device"]) for word in settings.device]
    if soc := settings.qualcomm_soc:
        asked.append((f"qualcomm={soc}", settings.sources["qualcomm-soc"]))
    found: dict[str, str] = {}
    for word, source in asked:
        name, separator, device = word.partition("=")
        if not separator:
            raise pytest.UsageError(f"{source}: {word!r} is not of the form cuda=1")
        spec = _spec(name, hardware, source)
        if not spec.devices:
            raise pytest.UsageError(f"{source}: {name} has no devices to choose from")
        if re.fullmatch(spec.devices, device) is None:
            raise pytest.UsageError(f"{source}: {device!r} is not a device of {name}: it must match {spec.devices}")
        if found.setdefault(name, device) != device:
            raise pytest.UsageError(f"{source}: {word}, and {name}={found[name]} is asked for, too")
    return found


def _spec(name: str, hardware: Mapping[str, HardwareSpec], source: str) -> HardwareSpec:
    if name not in hardware:
        raise pytest.UsageError(f"{source}: no hardware {name!r}{nearest(name, hardware)}")
    return hardware[name]
