"""May this dictionary speak about this model? A dictionary takes part only if every check passes; unknown is failure.

    metadata             model hash, quality and provenance are stated: native, or an import that was checked
    model                the stated tensors hash is that of the model
    site · width         the model has the site, and rows of that width
    rows                 at least 2,048 neutral rows to measure on
    scale                mean ‖x − x̄‖² within a factor 2 of the recorded value (a doubled input has four times that)
    explained_variance   within 0.05 of the recorded value (on the same neutral texts where the dictionary has it)
    l0                   within a factor 2 of the recorded value
    best_at_site         explains more at its site than at the same kind of site one layer before or after
    explanations         the decoder hash is the one that the explanations are bound to (where there are any)

Identity comes from hashes, shapes and behaviour, never from a file or source name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from radiograph.core import Refusal, Site
from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Quality
from radiograph.dictionaries._quality import evaluate

NEUTRAL_ROWS: Final = 2_048
EXPLAINED_VARIANCE_TOLERANCE: Final = 0.05
FACTOR: Final = 2.0
NOT_MEASURED: Final = "not measured"

RowsAt = Callable[[str], Float[Tensor, "row width"]]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the guard, both sides named."""

    name: str
    expected: str
    observed: str
    passed: bool


def check(
    dictionary: Dictionary,
    *,
    model_sha256: str,
    widths: Mapping[str, int],
    rows_at: RowsAt,
    explanations_sha256: str | None = None,
) -> list[Check]:
    """Every check, in the order above.

    `widths` holds the sites of the model, `rows_at` gives neutral rows of one of them (the same tokens for each),
    `explanations_sha256` the decoder hash that explanations are bound to.
    """
    return [
        _metadata(dictionary),
        _model(dictionary, model_sha256),
        *_place(dictionary, widths),
        *_behaviour(dictionary, widths, rows_at),
        *([] if explanations_sha256 is None else [_explanations(dictionary, explanations_sha256)]),
    ]


def require(checks: Sequence[Check]) -> None:
    """Refuse unless every check passed.

    Raises:
        Refusal: `dictionary_mismatch`, exit 3, naming both sides of every check that failed.
    """
    failed = [c for c in checks if not c.passed]
    if failed or not checks:
        raise Refusal(
            "dictionary_mismatch",
            "the dictionary does not belong to this model and site",
            expected="; ".join(f"{c.name}: {c.expected}" for c in failed) or "at least one check",
            got="; ".join(f"{c.name}: {c.observed}" for c in failed) or "none",
            fix="use a dictionary trained on this model and site, or train one",
            fixable=True,
        )


def neighbours(site: str, widths: Mapping[str, int]) -> list[str]:
    """The same kind of site one layer before and after, where the model has it with the same width."""
    own = Site.parse(site)
    if own.layer is None:
        return []
    near = [str(replace(own, layer=own.layer + step)) for step in (-1, 1) if own.layer + step >= 0]
    return [address for address in near if widths.get(address) == widths.get(site)]


def _metadata(dictionary: Dictionary) -> Check:
    meta = dictionary.metadata
    missing = [
        name
        for name, present in (
            ("model hash", meta.model is not None and meta.model.tensors_sha256 is not None),
            ("quality", meta.quality is not None),
            ("import check", meta.check in ("native", "checked")),
        )
        if not present
    ]
    observed = f"no {', no '.join(missing)}" if missing else "all present"
    return Check("metadata", "model hash, quality, import check", observed, not missing)


def _model(dictionary: Dictionary, model_sha256: str) -> Check:
    model = dictionary.metadata.model
    stated = None if model is None else model.tensors_sha256
    return Check("model", stated or "unknown", model_sha256, stated == model_sha256)


def _place(dictionary: Dictionary, widths: Mapping[str, int]) -> list[Check]:
    width = widths.get(dictionary.site)
    known = dictionary.site if width is not None else "no such site"
    observed = NOT_MEASURED if width is None else str(width)
    return [
        Check("site", dictionary.site, known, width is not None),
        Check("width", str(dictionary.width), observed, width == dictionary.width),
    ]


def _behaviour(dictionary: Dictionary, widths: Mapping[str, int], rows_at: RowsAt) -> list[Check]:
    recorded = dictionary.metadata.neutral or dictionary.metadata.quality
    if recorded is None or widths.get(dictionary.site) != dictionary.width:
        names = ("rows", "scale", "explained_variance", "l0", "best_at_site")
        return [Check(name, "a measurement", NOT_MEASURED, False) for name in names]
    found = evaluate(dictionary, [rows_at(dictionary.site)])
    others = {near: evaluate(dictionary, [rows_at(near)]).fvu for near in neighbours(dictionary.site, widths)}
    return [
        Check("rows", f">= {NEUTRAL_ROWS}", str(found.n_rows), found.n_rows >= NEUTRAL_ROWS),
        _within_factor("scale", recorded.variance, found.variance),
        _explained_variance(recorded, found),
        _within_factor("l0", recorded.l0, found.l0),
        _best_at_site(dictionary.site, found.fvu, others),
    ]


def _explained_variance(recorded: Quality, found: Quality) -> Check:
    expected, observed = recorded.explained_variance, found.explained_variance
    passed = abs(expected - observed) <= EXPLAINED_VARIANCE_TOLERANCE
    return Check("explained_variance", f"{expected:.3f} ± {EXPLAINED_VARIANCE_TOLERANCE}", f"{observed:.3f}", passed)


def _within_factor(name: str, recorded: float, found: float) -> Check:
    passed = recorded / FACTOR <= found <= recorded * FACTOR
    return Check(name, f"{recorded:.4g} within a factor {FACTOR:g}", f"{found:.4g}", passed)


def _best_at_site(site: str, own: float, others: Mapping[str, float]) -> Check:
    better = {near: fvu for near, fvu in others.items() if fvu <= own}
    observed = ", ".join(f"FVU {fvu:.3f} at {near}" for near, fvu in (better or {site: own}).items())
    return Check("best_at_site", f"lower FVU than {own:.3f} nowhere near {site}", observed, not better)


def _explanations(dictionary: Dictionary, bound_to: str) -> Check:
    return Check("explanations", bound_to, dictionary.decoder_sha256, dictionary.decoder_sha256 == bound_to)
