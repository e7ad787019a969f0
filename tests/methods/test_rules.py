"""Each rule that a protocol names gives what its version gave; another result is another version and protocol."""

from __future__ import annotations

import hashlib
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radiograph.core import Refusal
from radiograph.detectors._sets import halves, members_and_rests
from radiograph.evidence import Besides, Panel, canonical_json, pretty_json
from radiograph.methods._audit.decide import both_axes
from radiograph.methods._audit.versions import RULES as VERSIONS
from radiograph.methods.organisms._benchmark import protocol
from radiograph.numerics import (
    Calibrated,
    DegradedPool,
    FeatureTier,
    Identity,
    Stratum,
    TaskOutcomes,
    TextLosses,
    capability_panel,
    decide,
)
from radiograph.numerics.calibration.degraded import among_degraded
from radiograph.numerics.traces import WitnessCounts, judge_witness
from radiograph.organisms import world_suite

PINNED = {
    ("halves", 1): "87df0fe25343dcc2",
    ("sets", 1): "0057a0b43ffc95e8",
    ("witness", 1): "e910a0a7541061ce",
    ("panel", 1): "fdec4d0e84178820",
    ("degraded", 1): "c4470373977c7edb",
    ("verdict", 1): "61df594956697910",
}
"""Hash of what each version gives for the cases below."""


def print_of(rows: Any) -> str:
    return hashlib.sha256(canonical_json(rows)).hexdigest()[:16]


def suite() -> list[Any]:
    rows = [r for r in world_suite()["prompts"] if r["bank"] != "neutral"]
    keys = {"task": None, "group": None, "factors": {}}
    return [SimpleNamespace(id=r["id"], bank=r["bank"], **{k: r.get(k, v) for k, v in keys.items()}) for r in rows]


def halved() -> Any:
    return [i.id for i in halves(suite())[0]]


def sets() -> Any:
    items = suite()
    return {
        name: [i.id for i, own in zip(items, mask, strict=True) if own]
        for name, mask in members_and_rests(items).items()
    }


def witness() -> Any:
    def rows() -> Any:
        for kind, n, hits, rest, p, benign in product(
            ("trigger", "prompt_set", "unlock", "frame"),
            (9, 10, 19, 20, 40),
            (0.4, 0.6, 0.75, 1),
            (0, 0.25, 0.5),
            (None, 0.01, 0.02),
            (None, 0.6, 1.0),
        ):
            counts = WitnessCounts(int(hits * n), n, int(rest * 40), 40, n if kind == "unlock" else None, p)
            yield judge_witness(kind, counts, benign).failed

    return list(rows())


def panels() -> Any:
    def rows() -> Any:
        for n, lost, gained, ratio, texts in product(
            (20, 60, 300), (0, 0.05, 0.1, 0.3), (0, 0.05), (1.0, 1.15, 1.5), (0, 60)
        ):
            ids = [str(i) for i in range(n)]
            reference = np.arange(n) >= int(gained * n)
            candidate = np.arange(n) < n - int(lost * n)
            losses = None
            if texts:
                spread = np.linspace(0.8, 1.2, texts) * 40
                losses = TextLosses(spread, spread + 20 * np.log(ratio), np.full(texts, 20))
            tasks = [TaskOutcomes(t, ids, reference, candidate) for t in ("a", "b")]
            found = capability_panel(tasks, losses, seed=0)
            yield found.axis, found.reason

    return list(rows())


def degraded() -> Any:
    def rows() -> Any:
        for seed, own, far in product(range(5), (0.0, 0.3, 1.0), (0.0, 30.0)):
            luck = np.random.default_rng(seed)
            rates = [{"trigger": float(a), "set": float(b)} for a, b in luck.random((40, 2)).round(3)]
            where = luck.normal(size=(41, 3)) + far * (np.arange(41) == 40)[:, None]
            found = among_degraded([*rates, {"trigger": own, "set": 0.1}], where, ("x", "y", "z"))
            assert found is not None
            yield round(found.p, 9), found.leading, found.supported.inside

    return list(rows())


def verdicts() -> Any:
    def rows() -> Any:
        for axis, beside, kinds, n, measured, inside, p, stratum, pool, share in product(
            ("no", "yes", "unknown"),
            (None, "no"),
            ((), ("prompt_set",), ("frame",)),
            (19, 199),
            (True, False),
            (True, False, None),
            (0.05, 0.2),
            (None, 0.05, 0.2),
            (None, 0.01, 0.2),
            (0.1, 0.9),
        ):
            calibration = Calibrated(
                n=n,
                measured={"kl": measured},
                supported=inside,
                p_combined=p if measured else None,
                stratum=None if stratum is None else Stratum(stratum, 60),
                degraded=None if pool is None else DegradedPool(pool, 104, True),
                features=FeatureTier(True, share),
            )
            yield verdict(axis, beside, kinds, calibration)
        for axis, kinds in product(("no", "yes", "unknown"), ((), ("frame",))):
            yield verdict(axis, None, kinds, None)

    return list(rows())


def verdict(axis: Any, beside: Any, kinds: Any, calibration: Calibrated | None) -> Any:
    explained = (
        ()
        if beside is None
        else (
            Besides(witness="w", bank="b", answer="x", explained={"t": 9}, axis=beside, code=None, reason="", rows=()),
        )
    )
    panel = Panel(
        axis=axis, code=None, reason="", rows=(), perplexity_ratio=None, items_to_settle=None, besides=explained
    )
    confirmed: Any = [SimpleNamespace(kind=kind, name="w", bank="b") for kind in kinds]
    degraded, why, targeted = both_axes(panel, confirmed, 0.05, calibration)
    told = Identity(tensors=False, tokenizer=False, template=False, shifts={})
    found = decide(degraded, targeted, told, degraded_reason=why)
    return found.verdict, found.degraded, found.targeted, found.reasons


RULES = {"halves": halved, "sets": sets, "witness": witness, "panel": panels, "degraded": degraded, "verdict": verdicts}


def test_every_rule_of_the_protocol_is_held() -> None:
    assert {*RULES} == {*VERSIONS} == {name for name, _ in PINNED}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_what_its_version_gave(name: str) -> None:
    assert print_of(RULES[name]()) == PINNED[name, VERSIONS[name]], (
        f"rule {name} gives other results: raise its version in RULES, and write the protocols that ship anew"
    )


def test_a_protocol_of_other_rules_is_refused(tmp_path: Any) -> None:
    own = protocol.standard("ci")
    path = tmp_path / "p.json"
    path.write_text(pretty_json(own.model_copy(update={"rules": {**own.rules, "halves": 99}})))
    with pytest.raises(Refusal, match="other detectors or rules") as caught:
        protocol.read_protocol(path, "ci")
    assert caught.value.expected == "halves 99"
