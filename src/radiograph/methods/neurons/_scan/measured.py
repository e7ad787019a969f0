"""One site of a scan, in arrays: what every unit does, what it writes, where it was strongest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiograph.core import Refusal, Site
from radiograph.evidence import UnitRow
from radiograph.harvest.statistics import Measured, Rows
from radiograph.models import LanguageModel, token_text
from radiograph.models.tail import WRITERS, Tail, follows_norm, write_vectors
from radiograph.numerics.units import Contexts, SiteStatistics

TOKENS = 5
"""Tokens named per unit and side."""
AROUND = 8
"""Tokens of context before the place."""
AFTER = 3
"""And behind it."""
_PRODUCTS = 2**27
"""Logits that are computed at once."""


@dataclass(frozen=True, eq=False)
class Scanned:
    """Arrays over the units of one site."""

    site: Site
    statistics: SiteStatistics
    contexts: Contexts
    writes: np.ndarray | None
    """[unit, width]; None where units of this site write through no matrix."""

    @property
    def norms(self) -> np.ndarray | None:
        """‖w‖."""
        return None if self.writes is None else np.linalg.norm(self.writes, axis=1)

    @property
    def contribution(self) -> np.ndarray:
        """Mean |a − median|·‖w‖; without the norm where there is none."""
        norms = self.norms
        return self.statistics.spread * (1.0 if norms is None else norms)

    def columns(self) -> dict[str, list[Any]]:
        """The table of all units."""
        s, n = self.statistics, self.statistics.width
        norms = self.norms
        return {
            "site": [str(self.site)] * n,
            "unit": list(range(n)),
            "n": [s.n] * n,
            "mean": s.mean.tolist(),
            "sd": s.sd.tolist(),
            "low": s.low.tolist(),
            "high": s.high.tolist(),
            **{name: s.quantiles(q).tolist() for name, q in QUANTILES.items()},
            "skew": s.shapes.skew.tolist(),
            "kurtosis": s.shapes.kurtosis.tolist(),
            "firing": s.firing.tolist(),
            "spread": s.spread.tolist(),
            "write_norm": [None] * n if norms is None else norms.tolist(),
            "contribution": self.contribution.tolist(),
        }


QUANTILES = {"q001": 0.001, "q01": 0.01, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75}
QUANTILES |= {"q95": 0.95, "q99": 0.99, "q999": 0.999}


def scanned(model: LanguageModel, measured: Measured) -> list[Scanned]:
    """Every site of a measurement."""
    found = measured.statistics()
    return [
        Scanned(
            site,
            found[str(site)],
            measured.contexts[str(site)],
            write_vectors(model, site) if site.kind in WRITERS else None,
        )
        for site in measured.scan.sites
    ]


class Words:
    """Names tokens and places for people."""

    def __init__(self, model: LanguageModel, rows: Rows) -> None:
        self.model, self.rows = model, rows
        self.tail: Tail | None = None
        self.why: str | None = None
        try:
            self.tail = Tail.of(model)
        except Refusal as refusal:
            self.why = refusal.message
        if follows_norm(model):
            self.why = "a norm follows the block, so a unit's tokens are those of its column before that norm's gain"

    def written(self, writes: np.ndarray) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Tokens that each of some write vectors raises and lowers most."""
        if self.tail is None:
            return [((), ())] * len(writes)
        out: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        spare = self.model.spare_rows
        for part in np.array_split(writes, max(len(writes) * len(self.tail.unembed) // _PRODUCTS, 1)):
            logits = self.tail.direct(part)[:, : len(self.tail.unembed) - spare]
            for row in logits:
                order = np.argsort(-row, kind="stable")
                out.append((self._tokens(order[:TOKENS]), self._tokens(order[::-1][:TOKENS])))
        return out

    def contexts(self, found: Contexts, unit: int) -> tuple[str, ...]:
        """The places where a unit was strongest, the token in brackets."""
        places = zip(found.text[unit].tolist(), found.position[unit].tolist(), strict=True)
        return tuple(self._place(row, position) for row, position in places if row >= 0)

    def _place(self, row: int, position: int) -> str:
        ids, tokenizer = self.rows.tokens[row], self.model.tokenizer
        if tokenizer is None:
            return f"text {self.rows.names[self.rows.owner[row]]}, position {position}"
        first, last = max(position - AROUND, 0), position + 1 + AFTER
        before, with_it, whole = (str(tokenizer.decode(list(ids[first:end]))) for end in (position, position + 1, last))
        if with_it.startswith(before) and whole.startswith(with_it):  # the spaces are those of the text
            return f"{before}[{with_it[len(before) :]}]{whole[len(with_it) :]}"
        after = str(tokenizer.decode(list(ids[position + 1 : last])))
        return f"{before}[{token_text(tokenizer, ids[position])}]{after}"

    def _tokens(self, ids: Sequence[int] | np.ndarray) -> tuple[str, ...]:
        if self.model.tokenizer is None:
            return tuple(str(int(i)) for i in ids)
        return tuple(token_text(self.model.tokenizer, int(i)) for i in ids)


def unit_rows(found: Scanned, units: Sequence[int], words: Words) -> list[UnitRow]:
    """Some units of a site with everything that is known of them."""
    s = found.statistics
    norms, contribution = found.norms, found.contribution
    written = [((), ())] * len(units) if found.writes is None else words.written(found.writes[list(units)])
    quantiles = {q: s.quantiles(q) for q in (0.01, 0.99)}
    return [
        UnitRow(
            unit=f"{found.site}[{unit}]",
            n=s.n,
            mean=float(s.mean[unit]),
            sd=float(s.sd[unit]),
            low=float(s.low[unit]),
            high=float(s.high[unit]),
            q01=float(quantiles[0.01][unit]),
            median=float(s.median[unit]),
            q99=float(quantiles[0.99][unit]),
            skew=float(s.shapes.skew[unit]),
            kurtosis=float(s.shapes.kurtosis[unit]),
            firing=float(s.firing[unit]),
            write_norm=None if norms is None else float(norms[unit]),
            contribution=float(contribution[unit]),
            raised=raised,
            lowered=lowered,
            contexts=words.contexts(found.contexts, unit),
        )
        for unit, (raised, lowered) in zip(units, written, strict=True)
    ]
