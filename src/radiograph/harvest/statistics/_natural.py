"""What is natural at some sites, from wherever it is known: a run's folder, the cache, or measured now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from radiograph.core import Progress, UserError
from radiograph.core.shapes import Float64
from radiograph.harvest._sources import Text
from radiograph.harvest.statistics._measure import site_statistics
from radiograph.models import LanguageModel
from radiograph.numerics.units import SiteStatistics
from radiograph.store.statistics import read_statistics, statistics_cache

Named = Mapping[str, Float64[np.ndarray, " width"]]


def natural_statistics(
    model: LanguageModel,
    sites: Mapping[str, Named],
    *,
    folder: Path | None = None,
    texts: Callable[[], Iterable[Text]] | None = None,
    covariance: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, SiteStatistics]:
    """Site to its natural statistics.

    Args:
        model: the reference.
        sites: addresses, each with the directions along which quantiles are wanted too.
        folder: a run of `neurons scan`, which is then all that is known.
        texts: natural text, asked for only where something is to be measured; None where there is none.
        covariance: further sites, of which covariances are wanted.
        progress: is told of batches.

    Raises:
        UserError: statistics of another model, or nothing to measure on.
    """
    if folder is not None:
        place = folder / "statistics" if (folder / "statistics").is_dir() else folder
        return read_statistics(place, model_sha256=model.identity.tensors_sha256)[0]
    if not sites and not covariance:
        return {}
    if texts is None:
        raise UserError(
            "doses in sd, quantiles and norms, and matched units, refer to natural text, and none is given",
            fix="give --natural FILE, or --statistics RUN of `neurons scan`, or doses in raw numbers and no controls",
            code="no_statistics",
        )
    natural = texts()
    named = {site: dict(own) for site, own in sites.items() if own}
    found: dict[str, SiteStatistics] = {}
    cache = statistics_cache()
    if sites:
        found |= site_statistics(model, natural, list(sites), directions=named, cache=cache, progress=progress)
    if covariance:
        found |= site_statistics(model, natural, covariance, covariance=True, cache=cache, progress=progress)
    return found
