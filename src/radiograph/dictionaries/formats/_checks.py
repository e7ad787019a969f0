"""Is a foreign dictionary what its file says? Five checks, in this order, each with what was expected and observed.

    no_code        everything was read from safetensors, npz without pickle, weights-only pickles, JSON, safe YAML
    accounted      every tensor and key was used, or is known to decide nothing
    orientation    the shapes fit; where F = d they leave open which way a matrix lies, and matching encoder and decoder
                   rows must be more alike than under the transposed reading
    values         finite, no negative threshold, k ≤ F (all held by `Dictionary`), dead decoder rows counted
    data           with a model, 2,048 rows or more: FVU, L0 and dead features as read, and as it could wrongly be read:
                   one layer off, the sites that people confuse, transposed where F = d, inputs doubled or halved

States: `checked` if FVU < 0.9 and 10 % below that of every other reading, explained variance within 0.05 and L0 within
a factor 2 of what the file records; `mismatch` if FVU > 0.9 or another reading is 10 % better; else `doubtful`.
Without a model `unchecked`. A scale that fits better counts as a mismatch only at no more active features: a lower
threshold always explains more. Quality is printed here, not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor

from radiograph.core import Site, Source, derive
from radiograph.core.shapes import Float
from radiograph.core.sites import SiteKind
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._document import Normalisation
from radiograph.dictionaries._guard import EXPLAINED_VARIANCE_TOLERANCE, FACTOR, NEUTRAL_ROWS
from radiograph.dictionaries._metadata import Quality
from radiograph.dictionaries._quality import evaluate
from radiograph.dictionaries.formats._fold import scaled
from radiograph.dictionaries.formats._imported import Recorded
from radiograph.evidence import GuardCheck

WORST_FVU: Final = 0.9
MARGIN: Final = 0.9
"""A reading is better than another if its FVU is at most this share of the other's."""
SAME_L0: Final = 1.1
SHUFFLES: Final = 10
COSINE_MARGIN: Final = 0.05
BATCH: Final = 1024

State = Literal["checked", "doubtful", "unchecked", "mismatch"]
WidthOf = Callable[[str], int | None]
"""Width of a source, None where the model does not have it."""
RowsOf = Callable[[Sequence[str]], Mapping[str, Float[Tensor, "row width"]]]
"""Rows of several sources on the same tokens."""

_Read = tuple[SiteKind, Normalisation]
_CONFUSED: Final[tuple[tuple[_Read, ...], ...]] = (
    (("attn_out", "none"), ("attn_z", "none")),
    (("mlp_in", "none"), ("resid_mid", "none"), ("resid_mid", "unit_rms"), ("resid_mid", "layer_norm")),
    (("mlp_out", "none"), ("mlp_hidden", "none")),
)


@dataclass(frozen=True)
class Judgement:
    """What the checks found."""

    state: State
    checks: tuple[GuardCheck, ...]
    quality: Quality | None = None
    """At the declared site, if a model was given."""
    readings: Mapping[str, Quality] | None = None
    """The same under every other reading."""


def judge(
    dictionary: Dictionary,
    *,
    files: Iterable[str],
    accounted: int,
    recorded: Recorded | None = None,
    others: Mapping[str, Dictionary] | None = None,
    width_of: WidthOf | None = None,
    rows_of: RowsOf | None = None,
) -> Judgement:
    """Every check on a dictionary whose scales and norms are folded.

    `others` are readings that the format itself leaves open. Without `width_of` and `rows_of` there is no data check.
    """
    weights, contradicted = _orientation(dictionary)
    checks = [
        GuardCheck(check="no_code", expected="no pickled code", observed=_kinds(files), passed=True),
        GuardCheck(check="accounted", expected="every name", observed=f"{accounted} names", passed=True),
        weights,
        _values(dictionary),
    ]
    if width_of is None or rows_of is None:
        checks.append(_line("data", "a model and text", "none given", False))
        return Judgement("mismatch" if contradicted else "unchecked", tuple(checks))
    return _on_data(dictionary, checks, contradicted, recorded, dict(others or {}), width_of, rows_of)


def readings(dictionary: Dictionary, width_of: WidthOf) -> dict[str, Dictionary]:
    """Every wrong reading that the model has room for, by what would be wrong."""
    near = [_shifted(dictionary, step) for step in (-1, 1)]
    if dictionary.kind == "sae" and Site.parse(dictionary.site).kind == "resid_post":
        near.append(replace(dictionary, sites=("final_norm",)))
    found = {_place(d): d for d in (*near, *_confused(dictionary), _swapped(dictionary)) if d and _fits(d, width_of)}
    return found | _transposed(dictionary)


def _on_data(
    dictionary: Dictionary,
    checks: list[GuardCheck],
    contradicted: bool,
    recorded: Recorded | None,
    others: dict[str, Dictionary],
    width_of: WidthOf,
    rows_of: RowsOf,
) -> Judgement:
    if not _fits(dictionary, width_of):
        got = ", ".join(f"{s}: {width_of(s)}" for s in dict.fromkeys((*dictionary.sites, *dictionary.targets)))
        widths = (*dictionary.widths, *dictionary.target_widths)
        checks.append(_line("site", f"widths {', '.join(map(str, widths))}", got, False))
        return Judgement("mismatch", tuple(checks))
    rivals = readings(dictionary, width_of) | {n: d for n, d in others.items() if _fits(d, width_of)}
    sources = dict.fromkeys(s for d in (dictionary, *rivals.values()) for s in (*d.sites, *d.targets))
    rows = rows_of(list(sources))
    own = _measured(dictionary, rows)
    found = {name: _measured(rival, rows) for name, rival in rivals.items()}
    doubled = {f"inputs × {a:g}": _measured(_scaled(dictionary, a), rows) for a in (0.5, 2.0)}
    better = [n for n, q in found.items() if q.fvu <= MARGIN * own.fvu]
    rescaled = [n for n, q in doubled.items() if q.fvu <= MARGIN * own.fvu]
    better += [n for n in rescaled if doubled[n].l0 <= SAME_L0 * own.l0]
    near = [n for n, q in found.items() if n not in better and own.fvu > MARGIN * q.fvu]
    near += [n for n in rescaled if n not in better]
    lines = [
        _line("rows", f">= {NEUTRAL_ROWS}", str(own.n_rows), own.n_rows >= NEUTRAL_ROWS),
        _line("fvu", f"< {WORST_FVU:g}", f"{own.fvu:.4f}, L0 {own.l0:.2f}, {own.dead} dead", own.fvu < WORST_FVU),
        _best(own, found | doubled, better, near),
        *_as_recorded(own, recorded),
    ]
    agreed = not contradicted and not near and all(line.passed for line in lines)
    state: State = "mismatch" if own.fvu > WORST_FVU or better else "checked" if agreed else "doubtful"
    return Judgement(state, (*checks, *lines), own, found | doubled)


def _measured(dictionary: Dictionary, rows: Mapping[str, Tensor]) -> Quality:
    inputs = torch.cat([rows[s].float() for s in dictionary.sites], 1).split(BATCH)
    targets = torch.cat([rows[s].float() for s in dictionary.targets], 1).split(BATCH)
    return evaluate(dictionary, zip(inputs, targets, strict=True))


def _best(own: Quality, found: Mapping[str, Quality], better: list[str], near: list[str]) -> GuardCheck:
    shown = better or near or sorted(found, key=lambda n: found[n].fvu)[:1]
    observed = ", ".join(f"FVU {found[n].fvu:.4f} {n}" for n in shown) or "no other reading"
    bound = f"FVU of every other reading above {own.fvu / MARGIN:.4f}"
    return _line("best_reading", bound, observed, not better and not near)


def _as_recorded(own: Quality, recorded: Recorded | None) -> list[GuardCheck]:
    lines: list[GuardCheck] = []
    if recorded is not None and recorded.explained_variance is not None:
        stated, off = recorded.explained_variance, EXPLAINED_VARIANCE_TOLERANCE
        passed = abs(own.explained_variance - stated) <= off
        lines.append(_line("explained_variance", f"{stated:.3f} ± {off}", f"{own.explained_variance:.3f}", passed))
    if recorded is not None and recorded.l0 is not None:
        passed = recorded.l0 / FACTOR <= own.l0 <= recorded.l0 * FACTOR
        lines.append(_line("l0", f"{recorded.l0:.4g} within a factor {FACTOR:g}", f"{own.l0:.4g}", passed))
    return lines


def _orientation(dictionary: Dictionary) -> tuple[GuardCheck, bool]:
    """The line, and whether the weights speak clearly for a transposed reading."""
    shapes = f"{dictionary.size} features × {dictionary.width}"
    others = {n: d for n, d in _transposed(dictionary).items() if n != "both transposed"}
    if not others or dictionary.width != dictionary.target_width:
        return _line("orientation", "shapes that fit", shapes, True), False
    own, spread = _alike(dictionary)
    found = {name: _alike(d)[0] for name, d in others.items()}
    best = max(found, key=lambda n: found[n])
    clear = found[best] - own > max(5 * spread, COSINE_MARGIN)
    observed = f"cosine {own:.3f} as read, {found[best]:.3f} with the {best}"
    return _line("orientation", "rows of encoder and decoder alike as read", observed, not clear), clear


def _alike(dictionary: Dictionary) -> tuple[float, float]:
    """Mean cosine of matching encoder and decoder rows, and its spread when decoder rows are shuffled."""
    encoder = torch.nn.functional.normalize(dictionary.encoder.double(), dim=1)
    decoder = torch.nn.functional.normalize(dictionary.decoder.double(), dim=1)
    generator = torch.Generator().manual_seed(derive(0, "orientation"))
    chance = torch.stack(
        [(encoder * decoder[torch.randperm(len(decoder), generator=generator)]).sum(1).mean() for _ in range(SHUFFLES)]
    )
    return float((encoder * decoder).sum(1).mean()), float(chance.std())


def _transposed(dictionary: Dictionary) -> dict[str, Dictionary]:
    encoder = dictionary.size == dictionary.width and dictionary.activation.name != "pursuit"
    decoder = dictionary.size == dictionary.target_width
    found: dict[str, Dictionary] = {}
    if encoder:
        found["encoder transposed"] = replace(dictionary, encoder=dictionary.encoder.T.contiguous())
    if decoder:
        found["decoder transposed"] = replace(dictionary, decoder=dictionary.decoder.T.contiguous())
    if encoder and decoder:
        both = {"encoder": dictionary.encoder.T.contiguous(), "decoder": dictionary.decoder.T.contiguous()}
        found["both transposed"] = replace(dictionary, **both)
    return found


def _values(dictionary: Dictionary) -> GuardCheck:
    dead = int((dictionary.decoder.norm(dim=1) == 0).sum())
    observed = f"finite; {dead} decoder rows of length 0"
    return _line("values", "finite, thresholds >= 0, k within F", observed, True)


def _scaled(dictionary: Dictionary, a: float) -> Dictionary:
    return scaled(dictionary, (a,) * len(dictionary.sites), (a,) * len(dictionary.targets))


def _shifted(dictionary: Dictionary, step: int) -> Dictionary | None:
    """Every source one layer on; None where one has no layer to go to."""
    moved: dict[str, str] = {}
    for address in (*dictionary.sites, *dictionary.targets):
        source = Source.parse(address)
        if source.site.layer is None or source.site.layer + step < 0:
            return None
        moved[address] = _named(replace(source.site, layer=source.site.layer + step), address)
    target = None if dictionary.target is None else moved[dictionary.target]
    return replace(dictionary, sites=tuple(moved[s] for s in dictionary.sites), target=target)


def _confused(dictionary: Dictionary) -> list[Dictionary]:
    """The same dictionary reading what people take its site for, in the same layer."""
    if dictionary.kind == "crosscoder":
        return []
    source = Source.parse(dictionary.site)
    own = (source.site.kind, dictionary.normalisation)
    kinds = next((group for group in _CONFUSED if own[0] in (kind for kind, _ in group)), ())
    return [
        replace(
            dictionary,
            sites=(_named(Site(kind, source.site.layer), dictionary.site),),
            normalisation=how,
            denormalise=dictionary.denormalise and dictionary.target is None,
        )
        for kind, how in kinds
        if (kind, how) != own and source.site.head is None
    ]


def _swapped(dictionary: Dictionary) -> Dictionary | None:
    """A crosscoder of two models that takes each for the other."""
    roles = list(dict.fromkeys(Source.parse(s).role for s in dictionary.sites))
    if dictionary.kind != "crosscoder" or len(roles) != 2:
        return None
    other = dict(zip(roles, reversed(roles), strict=True))
    sources = [Source.parse(s) for s in dictionary.sites]
    return replace(dictionary, sites=tuple(str(replace(s, role=other[s.role])) for s in sources))


def _place(dictionary: Dictionary) -> str:
    how = "" if dictionary.normalisation == "none" else f", {dictionary.normalisation}"
    return f"at {' + '.join(dictionary.sites)}{how}"


def _named(site: Site, like: str) -> str:
    """The address of a site in the role, and with or without its name, of another address."""
    return str(replace(Source.parse(like), site=site)) if "/" in like else str(site)


def _fits(dictionary: Dictionary, width_of: WidthOf) -> bool:
    places = (
        *zip(dictionary.sites, dictionary.widths, strict=True),
        *zip(dictionary.targets, dictionary.target_widths, strict=True),
    )
    return all(width_of(address) == width for address, width in places)


def _kinds(files: Iterable[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in files}))


def _line(check: str, expected: str, observed: str, passed: bool) -> GuardCheck:
    return GuardCheck(check=check, expected=expected, observed=observed, passed=passed)
