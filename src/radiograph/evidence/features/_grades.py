"""The closed vocabulary of findings: kinds of evidence, grades of each kind, codes."""

from __future__ import annotations

from typing import Final, Literal

from radiograph.core import UserError, nearest
from radiograph.evidence._record import Record

Kind = Literal["correlational", "causal"]
GRADES: Final[dict[Kind, tuple[str, ...]]] = {
    "correlational": ("not_measured", "none", "candidate", "confirmed", "specific", "robust"),
    "causal": ("untested", "no_effect", "effect", "beyond_controls", "validated"),
}
"""Of each kind, low to high; the first says that nothing was measured. `contradicted` stands beside a causal grade."""
CODES: Final[dict[str, str]] = {
    "no_labels": "the source has no labelled rows",
    "few_groups": "too few independent groups for an interval, or for a test",
    "few_active": "active too rarely to be found, whatever the labels",
    "underpowered": "not confirmed, and an effect of interest could have been missed",
    "not_confirmed": "a candidate of one half that the other half did not confirm",
    "sign_flip": "the sign differs between the halves",
    "surface_cue": "does not tell positives from near misses: it may follow the form, not the concept",
    "surface_labels": "length or words of the texts alone give the labels away",
    "no_near_miss": "no near misses, or fewer than 8 units of them: a cue of the form cannot be told from the concept",
    "unstable": "other halves of the same groups would often choose other features",
    "censored": "only the largest values of each row were kept",
    "partial_rows": "not measured on every row",
    "preselected": "chosen with the labels of all rows, so nothing is left to confirm it on",
    "p_disagreement": "analytic and permutation p differ more than threefold; the larger is used",
    "no_activations": "the source gives no activations",
    "no_model": "no model ran",
    "no_outcome": "no outcome to move",
    "no_push": "the feature was where it was put",
    "few_controls": "fewer than 19 controls: no band",
    "no_controls": "no controls",
    "side_effects": "side effects exceed their limits",
    "not_monotone": "the response does not grow with the dose",
    "placebo_leak": "a dose of nothing changed something",
    "push_assumed": "which way the feature was pushed is assumed",
    "criterion_mismatch": "the interventions were made for another criterion",
    "claimed_by_source": "quoted from its source, not measured here",
    "dictionary_mismatch": "the dictionary belongs to another model or place",
    "ambiguous": "another feature fits as well",
    "toy_evidence": "measured on the small bundled model",
}
"""What each code means. There are no others."""


class Requirement(Record):
    """A gate: some finding of a kind reaches a grade."""

    kind: Kind
    grade: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.grade}"

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read `KIND:GRADE`.

        Raises:
            UserError: no such kind or grade; the nearest are named.
        """
        known = [f"{kind}:{grade}" for kind, grades in GRADES.items() for grade in grades[1:]]
        if text not in known:
            close = nearest(text, known)
            raise UserError(
                f"no such requirement: {text!r}",
                expected=", ".join(known),
                where="--require",
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="bad_value",
            )
        kind: Kind = "causal" if text.startswith("causal:") else "correlational"
        return cls(kind=kind, grade=text.partition(":")[2])


def at_least(kind: Kind, grade: str, least: str) -> bool:
    """Whether a grade is `least` or better."""
    order = GRADES[kind]
    return order.index(grade) >= order.index(least)
