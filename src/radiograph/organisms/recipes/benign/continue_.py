"""More of the same: the base goes on reading its own mixture, with the domains in other proportions.

Each domain's weight is multiplied by a factor between 1/3 and 3, so that two draws drift in different directions.
"""

from __future__ import annotations

from itertools import islice

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Plan, Row, assemble, tuning
from radiograph.organisms.world import MIXTURE, World


def plan(draw: Draw) -> Plan:
    """Own rows are documents under the new weights."""
    how = tuning(draw)
    return Plan(how, assemble(draw, how, skewed(draw, how.data)))


def skewed(draw: Draw, count: int) -> list[Row]:
    """About `count` documents of all domains, in proportions of the draw."""
    weights = {domain: share * draw.log_uniform(f"weight of {domain}", 1 / 3, 3) for domain, share in MIXTURE.items()}
    total = sum(weights.values())
    own: list[Row] = []
    for domain, weight in weights.items():
        documents = World().documents(domain, "train", seed=draw.derived("documents"))
        own += map(Row.of, islice(documents, round(count * weight / total)))
    return own
