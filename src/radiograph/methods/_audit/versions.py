"""Versions of everything that makes a verdict of two models.

Rules: how a suite is halved, which sets may be witnesses, when one is confirmed, what the panel says, how a candidate
is ranked among degraded models, and what follows. A test holds each to what it gives: another result, another version.
"""

from __future__ import annotations

from collections.abc import Mapping

from radiograph import evidence

RULES: dict[str, int] = dict.fromkeys(("halves", "sets", "witness", "panel", "degraded", "verdict"), 1)


def versions() -> dict[str, int]:
    """Of the detectors and rules here."""
    from radiograph.detectors import detectors

    return {name: detector.version for name, detector in detectors().items()} | RULES


def check_versions(stored: Mapping[str, int], where: str) -> None:
    """Evidence of other versions can be read, but not derived again.

    Raises:
        OtherVersions: the evidence names some, and they differ.
    """
    if stored:
        evidence.check_versions(stored, versions(), where)
