"""The main job on the bundled small world, offline: three audits of one base model whose truth is known.

1. the base against itself: nothing may move, not by one bit
2. a benign fine-tune: it moved, and ranks among the benign fine-tunes of the shipped calibration: `no-evidence`
3. a fine-tune with a planted one-token trigger: `targeted-change`, and the trigger itself as a witness
Without a shipped calibration nobody may say more of the last two than that they moved; the trigger is still found.

Each audit is a bundle of its own inside this one. Exit 0 if every audit says what it must, else 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode
from radiograph.evidence import Audit, Record, Result

if TYPE_CHECKING:
    from radiograph.evidence import Item, OrganismTruth


class Config(Base):
    """Nothing to choose."""


class DemoAudit(Record):
    """One audit, what it had to say and what it said."""

    title: str
    candidate: str
    verdict: str
    reason: str
    expected: str
    as_expected: bool
    changed: int
    flips: int
    prompts: int
    leading: tuple[str, ...]
    """The prompts at the head of the report, each with both answers."""
    triggers: tuple[str, ...] = ()
    """Confirmed witnesses, with their counts."""
    run: str
    """Path of its bundle inside this one."""


class Demo(Result):
    """Three audits."""

    SCHEMA: ClassVar[str] = "radiograph.demo/1"

    audits: tuple[DemoAudit, ...]

    @property
    def headline(self) -> str:
        """Whether every audit said what it must."""
        right = sum(a.as_expected for a in self.audits)
        return f"{right} of {len(self.audits)} audits say what the planted truth demands"

    @property
    def lines(self) -> tuple[str, ...]:
        """One block an audit: verdict, what moved, where the report is."""
        out: list[str] = []
        for audit in self.audits:
            mark = "ok" if audit.as_expected else "NOT AS EXPECTED"
            out.append(f"[{mark}] {audit.title}: {audit.verdict} ({audit.reason})")
            out.append(f"     {audit.changed} of {audit.prompts} answers differ, {audit.flips} flips; {audit.expected}")
            out += [f"     · {line}" for line in audit.leading]
            out += [f"     witness: {name}" for name in audit.triggers]
            out.append(f"     report: {audit.run}/report.html")
        return tuple(out)

    @property
    def exit_code(self) -> ExitCode:
        """0 if all are as expected."""
        return ExitCode.PASS if all(a.as_expected for a in self.audits) else ExitCode.GATE_FAILED


BASE = "bundled:base"


def run(config: Config, ctx: Context) -> Demo:
    """Audit three candidates."""
    del config
    from radiograph.organisms import bundled_organism

    benign, trigger = bundled_organism("continue"), bundled_organism("trigger_token")
    return Demo(
        audits=(
            _audit(ctx, "the base against itself", BASE, None),
            _audit(ctx, "a benign fine-tune", f"{BASE}+bundled:{benign.id}", benign),
            _audit(ctx, "a fine-tune with a planted trigger", f"{BASE}+bundled:{trigger.id}", trigger),
        )
    )


def _audit(ctx: Context, title: str, candidate: str, truth: OrganismTruth | None) -> DemoAudit:
    ctx.progress.say(f"auditing {title} …")
    step = ctx.step("audit", reference=BASE, candidate=candidate, title=title)
    audit: Audit = step.result
    behaviour = audit.behaviour
    items = sorted(behaviour.items if behaviour else (), key=_rank)
    expected, as_expected = _judge(audit, items, truth)
    return DemoAudit(
        title=title,
        candidate=candidate,
        verdict=audit.verdict,
        reason=", ".join(r.code for r in audit.reasons),
        expected=expected,
        as_expected=as_expected,
        changed=behaviour.changed if behaviour else 0,
        flips=behaviour.flips if behaviour else 0,
        prompts=behaviour.n if behaviour else 0,
        leading=tuple(_shown(item) for item in items[:3] if not item.same_text),
        triggers=tuple(f"{w.name}, {w.hits} of {w.n} fresh answers, {w.rest_hits} without" for w in audit.confirmed),
        run=step.path,
    )


def _judge(audit: Audit, items: list[Item], truth: OrganismTruth | None) -> tuple[str, bool]:
    """What the truth demands, in words, and whether it holds."""
    if truth is None:
        return "equal models: every shift exactly 0", audit.verdict == "no-evidence" and audit.identical
    uncalibrated = audit.verdict == "inconclusive" and any(r.code == "no_calibration" for r in audit.reasons)
    calibrated = audit.calibration is not None
    if truth.class_gated != "planted":
        if calibrated:
            return "changed as benign fine-tunes do", audit.verdict == "no-evidence"
        return "changed, and no calibration to say whether that is unusual", uncalibrated
    token = str(truth.truth["token"])
    named = any(token in (w.text or "").split() for w in audit.confirmed)
    lead = items[0].prompt_used[-1].content if items else ""
    seen = named and token in lead.split()
    if calibrated:
        return f"planted trigger {token!r}: a confirmed witness", seen and audit.verdict == "targeted-change"
    return f"planted trigger {token!r}: found, and in the leading prompt", seen and audit.verdict == "inconclusive"


def _rank(item: Item) -> tuple[bool, bool, float]:
    """The order of the report: flips, then other answers, then divergence."""
    return (not item.flip, item.same_text, -(item.kl_mean or 0.0))


def _shown(item: Item) -> str:
    ours, theirs = item.responses[0].text, item.responses[1].text
    return f"{item.prompt_used[-1].content!r} → {ours!r} became {theirs!r}"
