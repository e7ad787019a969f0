"""The protocol: read it, compare it with this version, refuse one that was changed after a planted score existed.

`FOLDER/protocol.json` beside the stored scores holds the protocol that they were measured under, and
`FOLDER/frozen.json` calibration and thresholds, both written before the first planted model is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiograph.core import Refusal, UserError
from radiograph.evidence import OtherVersions, canonical_json, pretty_json
from radiograph.evidence.benchmark import Protocol, Tier
from radiograph.methods._audit.versions import RULES, check_versions

BUNDLED = Path(__file__).parent / "protocols"
PROTOCOL, FROZEN = "protocol.json", "frozen.json"
BASELINES = ("weights.relative_norm", "kl.neutral", "kl.suite_max")


def standard(tier: Tier) -> Protocol:
    """The protocol of a tier as this version would write it: how the files that ship were made."""
    from radiograph.detectors import detectors

    return Protocol(
        name=tier,
        tier=tier,
        reference="bundled:base",
        suite="world:suite",
        dictionary="dictionary:bundled",
        effort="quick",
        infix=False,
        score_method="abs_diff_topk",
        k=50,
        aggregate="mean",
        reduce="skip_first",
        chat="template",
        system="separate",
        detectors={name: detector.version for name, detector in detectors().items()},
        rules=RULES,
        combination="max",
        sites=("resid_post.1", "resid_post.2"),
        alpha=0.05,
        rates=(0.05, 0.01),
        baselines=BASELINES,
        resamples=2000,
        resplits=1000,
        seed=0,
    )


def read_protocol(path: Path, tier: Tier) -> Protocol:
    """A protocol file, which must be of this tier and of this version's detectors and rules.

    Raises:
        UserError: another tier. Refusal: detectors or rules of another version (`protocol_version`, exit 3).
    """
    try:
        protocol = Protocol.read(json.loads(path.read_text(encoding="utf-8")), path.name)
    except (ValueError, OSError) as error:
        raise UserError(f"{path.name} is no protocol", where=str(path.name), got=str(error), code="format") from error
    if protocol.tier != tier:
        raise UserError(
            f"protocol {protocol.name} is of another tier",
            where="--protocol",
            expected=tier,
            got=protocol.tier,
            code="usage",
        )
    try:
        check_versions(protocol.rules | protocol.detectors, f"protocol {protocol.name}")
    except OtherVersions as error:
        raise Refusal(
            "protocol_version",
            error.message,
            expected=error.expected,
            got=error.got,
            fix="use the version of radiograph that it was written for, or another protocol",
            fixable=True,
        ) from error
    return protocol


def bind(folder: Path, protocol: Protocol) -> None:
    """Record the protocol beside the scores, or compare it with the one that lies there.

    Raises:
        Refusal: `protocol_changed`, exit 3, both hashes named.
    """
    path = folder / PROTOCOL
    if not path.is_file():
        path.write_text(pretty_json(protocol), encoding="utf-8")
        return
    stored = Protocol.read(json.loads(path.read_text(encoding="utf-8")), PROTOCOL)
    if stored.sha256 != protocol.sha256:
        ours, theirs = protocol.model_dump(mode="json"), stored.model_dump(mode="json")
        changed = sorted(key for key in ours if ours[key] != theirs[key])
        raise Refusal(
            "protocol_changed",
            f"these organisms were measured under another protocol; it differs in {', '.join(changed)}",
            expected=f"{stored.name}, hash {stored.sha256[:16]}",
            got=f"{protocol.name}, hash {protocol.sha256[:16]}",
            fix=f"pass the protocol that lies beside the scores ({PROTOCOL}); for a new one draw new organisms",
            fixable=True,
        )


def freeze(folder: Path, frozen: Mapping[str, Any]) -> None:
    """Write calibration and thresholds, or compare them with what was frozen before planted scores existed.

    Raises:
        Refusal: `thresholds_changed`, exit 3.
    """
    path, text = folder / FROZEN, canonical_json(frozen)
    if path.is_file() and path.read_bytes() != text:
        stored = json.loads(path.read_bytes())
        raise Refusal(
            "thresholds_changed",
            "planted organisms were measured after other thresholds had been frozen",
            expected=f"calibration {str(stored.get('calibration_sha256'))[:16]}",
            got=f"calibration {str(frozen.get('calibration_sha256'))[:16]}",
            fix="pass the calibration of the first run, or another folder: --scores NEW measures all of them again",
            fixable=True,
        )
    path.write_bytes(text)
