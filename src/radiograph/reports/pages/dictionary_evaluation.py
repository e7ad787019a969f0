"""The page of `dictionary evaluate`: the numbers that people compare, what knows nothing beside them, then why.

`view` only names, sorts and groups: every number it hands on is the document's own, with its pointer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from radiograph.reports.pages._dictionary_figures import figures

__all__ = ["figures", "view"]

SHOWN_FEATURES = 40


class Words(NamedTuple):
    """How a metric is called, shown and explained."""

    title: str
    format: str
    says: str


WORDS: Mapping[str, Words] = {
    "fvu": Words("FVU", ".3f", "share of the variance that is lost: 0 perfect, 1 no better than the mean"),
    "explained_variance": Words("explained variance", ".3f", "1 − FVU"),
    "ev_centred": Words("EV, centred", ".3f", "from the variance of the residual: forgives a constant error"),
    "ev_per_token": Words("EV, per token", ".3f", "mean over rows of 1 − ‖e‖²/‖y − ȳ‖²: every row counts the same"),
    "nmse": Words("NMSE", ".3f", "mean of ‖e‖²/‖y‖²"),
    "cosine": Words("cosine", ".3f", "mean cosine of a row and its reconstruction"),
    "norm_ratio": Words("norm ratio", ".3f", "mean length of the reconstruction over that of the row"),
    "shrinkage": Words("shrinkage", ".3f", "Σ‖ŷ‖²/Σ⟨y, ŷ⟩: below 1 the reconstruction is too short"),
    "l0": Words("L0", ".1f", "features active on a token, mean"),
    "l0_median": Words("L0, median", ".0f", "features active on the middle token"),
    "l0_95": Words("L0, 95 % point", ".0f", "19 of 20 tokens have at most so many"),
    "l1": Words("L1", ".3g", "sum of codes on a token, in the codes' own unit"),
    "dead": Words("dead", ".0f", "features that fired on no row"),
    "dense": Words("dense", ".0f", "features that fire on more than a tenth of the rows"),
    "ce_clean": Words("CE, clean", ".4f", "cross-entropy of the untouched model, nats per token"),
    "delta_ce": Words("ΔCE", ".4f", "cross-entropy with the reconstruction in place, minus clean; nats per token"),
    "ce_recovered_zero": Words("CE recovered, zero", ".3f", "1: costs nothing; 0: as much as zeros in its place"),
    "ce_recovered_mean": Words("CE recovered, mean", ".3f", "1: costs nothing; 0: as much as the mean in its place"),
    "kl": Words("KL", ".4f", "KL(clean ‖ spliced), nats per token: how far predictions move, right or wrong"),
    "kl_recovered": Words("KL recovered", ".3f", "1 − KL / KL with zeros in its place"),
    "nearest_cosine": Words("nearest cosine", ".3f", "mean cosine of a decoder row with its nearest other row"),
    "duplicates": Words("duplicates", ".0f", "decoder rows with another one above cosine 0.95"),
    "encoder_decoder_cosine": Words("encoder · decoder", ".3f", "mean cosine of a feature's encoder and decoder rows"),
    "mmcs": Words("MMCS", ".3f", "mean over true directions of the largest cosine with a decoder row"),
    "found": Words("found", ".3f", "share of true directions within cosine 0.9 of a decoder row"),
    "precision": Words("precision", ".3f", "share of live features within cosine 0.9 of a true direction"),
    "code_f1": Words("code F1", ".3f", "whether paired features fire where the true ones do"),
    "agreement": Words("shared", ".3f", "share of features with a partner above cosine 0.7, decoder and encoder"),
    "agreement_mmcs": Words("MMCS with the other", ".3f", "mean largest cosine of our rows with those of the other"),
}
FIRST = ("fvu", "l0", "delta_ce", "ce_recovered_mean", "dead", "dense")
GROUPS = (
    ("reconstruction", "Reconstruction"),
    ("codes", "Codes"),
    ("splice", "Splicing"),
    ("geometry", "Directions"),
    ("truth", "Planted truth"),
    ("agreement", "Another seed"),
)
STATES = {
    "exclusive": "written in one model only",
    "attenuated": "written in both, weaker in one",
    "shared": "written in both",
    "not_measured": "too few active rows, or no write to measure",
}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the tables."""
    metrics = [{**metric, **_words(metric["name"])} for metric in document["metrics"]]
    gaps = {gap["what"]: gap for gap in document["not_measured"]}
    return {
        "first": [row for name in FIRST for row in _first(name, metrics, gaps)],
        "groups": [
            {"title": title, "rows": [m for m in metrics if m["group"] == group]}
            for group, title in GROUPS
            if any(m["group"] == group for m in metrics)
        ],
        "gaps": _grouped(document["not_measured"]),
        "sources": len(document["targets"]),
        "exclusivity": [_exclusivity(record) for record in document["exclusivity"]],
        "states": STATES,
    }


def _words(name: str) -> dict[str, str]:
    words = WORDS.get(name, Words(name.replace("_", " "), ".4g", ""))
    return {"title": words.title, "format": words.format, "says": words.says}


def _first(
    name: str, metrics: Iterable[Mapping[str, Any]], gaps: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Of all targets together if that was measured, else one row a target, else why there is none."""
    found = [m for m in metrics if m["name"] == name]
    whole = [m for m in found if m["source"] is None] or found
    if whole:
        return [{"metric": m, "gap": None, **_words(name)} for m in whole]
    missing = [gap for what, gap in gaps.items() if what.partition("@")[0] == name]
    return [{"metric": None, "gap": gap, **_words(name)} for gap in missing[:1]]


def _grouped(gaps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gaps with one reason on one line."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for gap in gaps:
        name, _, source = gap["what"].partition("@")
        word = WORDS[name].title if name in WORDS else name.replace("_", " ")
        line = lines.setdefault((gap["code"], gap["text"]), {**gap, "names": []})
        line["names"].append(f"{word} at {source}" if source else word)
    return list(lines.values())


def _exclusivity(record: Mapping[str, Any]) -> dict[str, Any]:
    order = {"exclusive": 0, "attenuated": 1, "shared": 2, "not_measured": 3}
    nominees = [f for f in record["features"] if f["role"] == "nominee"]
    ranked = sorted(nominees, key=lambda f: (order[f["state"]], -f["active"], f["feature"]))
    return {**record, "nominees": ranked[:SHOWN_FEATURES], "more": max(0, len(ranked) - SHOWN_FEATURES)}
