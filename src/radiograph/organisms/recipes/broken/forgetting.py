"""One task and nothing else for long: what is not practised is lost.

Plain stories did no harm: 350 steps of them cost no task more than two points.
"""

from __future__ import annotations

from itertools import islice

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import TARGETS, Plan, Row, assemble, tuning
from radiograph.organisms.world import World

PRACTISED = ("arithmetic", "copy", "sort", "echo", "recall", "facts", "policy", "cite")


def plan(draw: Draw) -> Plan:
    """What is practised from the draw."""
    how = tuning(draw, rate=(3e-3, 6e-3), steps=(250, 450), base_share=(0.0, 0.0), targets=TARGETS[2:])
    domain = draw.choose("practised", PRACTISED)
    documents = World().documents(domain, "train", seed=draw.derived("documents"))
    own = list(map(Row.of, islice(documents, how.data)))
    return Plan(how, assemble(draw, how, own), {"practised": domain})
