"""From sums to the numbers that leave the run, each with n, interval, null and what knows nothing gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from radiograph.core import Refusal
from radiograph.evidence import Estimate, Metric, RefusalRecord

if TYPE_CHECKING:
    import numpy as np

    from radiograph.dictionaries.measures import Tables
    from radiograph.interventions import SpliceLosses
    from radiograph.numerics.dictionaries.tables import Value

Group = Literal["reconstruction", "codes", "splice", "geometry", "truth", "agreement"]


class Kind(NamedTuple):
    """What a metric is measured in, and what the mean in place of every reconstruction would get."""

    group: Group
    unit: str = ""
    null: float | None = None


KINDS: dict[str, Kind] = {
    "fvu": Kind("reconstruction", "share of variance", 1.0),
    "explained_variance": Kind("reconstruction", "share of variance", 0.0),
    "ev_centred": Kind("reconstruction", "share of variance", 0.0),
    "ev_per_token": Kind("reconstruction", "share of variance", 0.0),
    "nmse": Kind("reconstruction", "share of squared norm"),
    "cosine": Kind("reconstruction"),
    "norm_ratio": Kind("reconstruction"),
    "shrinkage": Kind("reconstruction"),
    "l0": Kind("codes", "features per row"),
    "l0_median": Kind("codes", "features per row"),
    "l0_95": Kind("codes", "features per row"),
    "l1": Kind("codes", "per row"),
    "dead": Kind("codes", "features"),
    "dense": Kind("codes", "features"),
    "ce_clean": Kind("splice", "nats per token"),
    "delta_ce": Kind("splice", "nats per token"),
    "ce_recovered_zero": Kind("splice", "share"),
    "ce_recovered_mean": Kind("splice", "share", 0.0),
    "kl": Kind("splice", "nats per token"),
    "kl_recovered": Kind("splice", "share"),
    "nearest_cosine": Kind("geometry"),
    "duplicates": Kind("geometry", "features"),
    "encoder_decoder_cosine": Kind("geometry"),
    "mmcs": Kind("truth"),
    "found": Kind("truth", "share of directions"),
    "precision": Kind("truth", "share of live features"),
    "code_f1": Kind("truth"),
    "agreement": Kind("agreement", "share of features"),
    "agreement_mmcs": Kind("agreement"),
}
SANITY = 1e-5
"""Nats per token that ŷ + (y − ŷ) may cost before nothing that was spliced counts."""
BOOTSTRAP = "bootstrap over prompt groups, 1,000 draws"
BASIC = "basic bootstrap over prompt groups, 1,000 draws, cut at what was seen"


def metric(
    name: str,
    found: Value,
    n: int,
    *,
    source: str | None = None,
    random: float | None = None,
    linear: float | None = None,
    null: float | None = None,
    method: str = BOOTSTRAP,
) -> Metric:
    """One metric of a value that was measured."""
    kind = KINDS[name]
    assert found.value is not None
    low, high = found.interval or (None, None)
    return Metric(
        name=name,
        source=source,
        group=kind.group,
        estimate=Estimate(
            value=found.value,
            low=low,
            high=high,
            n=n,
            unit=kind.unit,
            method=method if found.interval else "",
            null=kind.null if null is None else null,
        ),
        random=random,
        linear=linear,
    )


def row_metrics(ours: Tables, random: Tables | None, linear: Tables | None) -> list[Metric]:
    """Reconstruction and codes of all targets together, and of each where there are several."""
    made = [
        metric(
            name,
            found,
            ours.n,
            random=None if random is None else random.number(name),
            linear=None if linear is None else linear.number(name),
            method=BASIC if name == "dead" else BOOTSTRAP,
        )
        for name, found in ours.values.items()
        if found.value is not None
    ]
    if len(ours.sources) > 1:
        made += [
            metric(
                name, found, ours.n, source=source, random=_at(random, source, name), linear=_at(linear, source, name)
            )
            for source, values in ours.sources.items()
            for name, found in values.items()
            if found.value is not None
        ]
    return made


def splice_metrics(
    losses: Mapping[str, SpliceLosses], units: np.ndarray, taken: np.ndarray, source: str | None
) -> tuple[list[Metric], list[RefusalRecord]]:
    """Cost of splicing `ours`, beside `random` and `linear` where they were spliced too."""
    ours = losses["ours"]
    exact = abs(ours.ce("exact") - ours.ce("clean"))
    if exact > SANITY:
        text = f"putting back the activation itself changes the loss by {exact:.3g} nats: the splice is not exact here"
        names = [name for name, kind in KINDS.items() if kind.group == "splice"]
        return [], [RefusalRecord(code="splice_not_exact", what=_what(name, source), text=text) for name in names]
    n = ours.n_tokens
    null = ours.ce("mean") - ours.ce("clean")
    others = {name: found for name, found in losses.items() if name != "ours"}
    made = [
        metric("ce_clean", _per_token(ours, "clean", units, taken), n, source=source),
        metric(
            "delta_ce",
            _difference(ours, units, taken),
            n,
            source=source,
            null=null,
            random=_beside(others, "random", lambda found: found.delta_ce),
            linear=_beside(others, "linear", lambda found: found.delta_ce),
        ),
        metric(
            "kl",
            _divergence(ours, units, taken),
            n,
            source=source,
            null=ours.kl("mean"),
            random=_beside(others, "random", lambda found: found.kl()),
            linear=_beside(others, "linear", lambda found: found.kl()),
        ),
    ]
    missing: list[RefusalRecord] = []
    for name, share in (
        ("ce_recovered_zero", "recovered_zero"),
        ("ce_recovered_mean", "recovered_mean"),
        ("kl_recovered", "recovered_kl"),
    ):
        if isinstance(refused := getattr(ours, share), Refusal):
            text = f"{refused.message} ({refused.got} nats, at least {refused.expected} needed)"
            missing.append(RefusalRecord(code=refused.code, what=_what(name, source), text=text))
            continue
        made.append(
            metric(
                name,
                _recovered(ours, name, units, taken),
                n,
                source=source,
                random=_beside(others, "random", attrgetter(share)),
                linear=_beside(others, "linear", attrgetter(share)),
            )
        )
    return _both_ablations(made, missing, source)


def _both_ablations(
    made: list[Metric], missing: list[RefusalRecord], source: str | None
) -> tuple[list[Metric], list[RefusalRecord]]:
    """CE recovered against zero ablation alone is not given: zeros are far from anything the model has seen."""
    names = {m.name for m in made}
    if "ce_recovered_mean" in names or "ce_recovered_zero" not in names:
        return made, missing
    text = "the share against zero ablation is given only beside the one against mean ablation"
    alone = RefusalRecord(code="zero_ablation_alone", what=_what("ce_recovered_zero", source), text=text)
    return [m for m in made if m.name != "ce_recovered_zero"], [*missing, alone]


def _beside(others: Mapping[str, SpliceLosses], name: str, number: Callable[[SpliceLosses], float]) -> float | None:
    return number(others[name]) if name in others else None


def _what(name: str, source: str | None) -> str:
    return name if source is None else f"{name}@{source}"


def _at(tables: Tables | None, source: str, name: str) -> float | None:
    found = None if tables is None else tables.sources[source].get(name)
    return None if found is None else found.value


def _sum(values: np.ndarray, units: np.ndarray, taken: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.bincount(units, values, taken.shape[1])


def _per_token(losses: SpliceLosses, how: str, units: np.ndarray, taken: np.ndarray) -> Value:
    from radiograph.numerics.dictionaries.tables import ratio

    return ratio(_sum(losses.nats[how], units, taken), _sum(losses.tokens, units, taken), taken)


def _difference(losses: SpliceLosses, units: np.ndarray, taken: np.ndarray) -> Value:
    from radiograph.numerics.dictionaries.tables import ratio

    change = losses.nats["spliced"] - losses.nats["clean"]
    return ratio(_sum(change, units, taken), _sum(losses.tokens, units, taken), taken)


def _divergence(losses: SpliceLosses, units: np.ndarray, taken: np.ndarray) -> Value:
    from radiograph.numerics.dictionaries.tables import ratio

    return ratio(_sum(losses.divergence["spliced"], units, taken), _sum(losses.tokens, units, taken), taken)


def _recovered(losses: SpliceLosses, name: str, units: np.ndarray, taken: np.ndarray) -> Value:
    from radiograph.numerics.dictionaries.tables import ratio

    if name == "kl_recovered":
        ablated, spliced, clean = losses.divergence["zero"], losses.divergence["spliced"], 0.0
    else:
        ablated = losses.nats[name.removeprefix("ce_recovered_")]
        spliced, clean = losses.nats["spliced"], losses.nats["clean"]
    return ratio(_sum(ablated - spliced, units, taken), _sum(ablated - clean, units, taken), taken)


def missing(names: Sequence[str], code: str, text: str, fix: str | None = None) -> list[RefusalRecord]:
    """The same reason for several metrics."""
    return [RefusalRecord(code=code, what=name, text=text, fix=fix) for name in names]
