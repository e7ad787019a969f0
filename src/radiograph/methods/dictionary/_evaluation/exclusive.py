"""Exclusivity of a crosscoder's features as evidence: every pair of one site in two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.evidence import ExclusivityRecord, ScaledFeature

if TYPE_CHECKING:
    import numpy as np

    from radiograph.dictionaries import Dictionary
    from radiograph.dictionaries.measures import Blocks, Exclusivity, Survey


def exclusivities(
    dictionary: Dictionary, blocks: Blocks, seen: Survey, taken: np.ndarray, density: np.ndarray, seed: int
) -> tuple[ExclusivityRecord, ...]:
    """One record a pair; none where no site stands in two models."""
    from radiograph.dictionaries.measures import exclusivity, model_pairs

    live = density > 0
    return tuple(
        _record(exclusivity(dictionary, blocks, seen, taken, pair, live=live, seed=seed), dictionary.activation.name)
        for pair in model_pairs(dictionary)
    )


def _record(found: Exclusivity, activation: str) -> ExclusivityRecord:
    nominees = found.of("nominee")

    def count(state: str, side: str | None = None) -> int:
        return sum(p.scaling.state == state and side in (None, p.side) for p in nominees)

    return ExclusivityRecord(
        reference=found.reference,
        candidate=found.candidate,
        nominated=found.nominated,
        exclusive_reference=count("exclusive", "reference"),
        exclusive_candidate=count("exclusive", "candidate"),
        attenuated=count("attenuated"),
        shared=count("shared"),
        not_measured=count("not_measured"),
        copy_exclusive=sum(p.scaling.state == "exclusive" for p in found.of("copy")),
        warning="l1_shrinkage" if activation == "relu" else None,
        features=tuple(
            ScaledFeature(
                role=p.role,
                feature=p.feature,
                side=p.side,
                rho=p.rho,
                state=p.scaling.state,
                active=p.scaling.active,
                beta_strong=p.scaling.beta_strong,
                nu_error=p.scaling.nu_error,
                nu_error_bound=p.scaling.nu_error_bound,
                nu_reconstruction=p.scaling.nu_reconstruction,
                nu_reconstruction_bound=p.scaling.nu_reconstruction_bound,
            )
            for p in found.probes
        ),
    )
