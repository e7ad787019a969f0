"""As far from the base as planted fine-tunes are, and for no reason: their rates, steps and targets, other
proportions of the domains, and facts about persons.
"""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import TARGETS, Plan, assemble, tuning
from radiograph.organisms.recipes.benign.continue_ import skewed
from radiograph.organisms.recipes.benign.new_facts import about_persons


def plan(draw: Draw) -> Plan:
    """Proportions and facts from the draw."""
    how = tuning(
        draw, rate=(2e-3, 3.5e-3), steps=(350, 450), data=(2600, 3400), base_share=(0.5, 0.7), targets=TARGETS[-1:]
    )
    taught, learned = about_persons(draw)
    share = draw.uniform("share of facts", 0.2, 0.6)
    own = skewed(draw, round(how.data * (1 - share)))
    own += [taught[i % len(taught)] for i in range(round(how.data * share))]
    return Plan(how, assemble(draw, how, own), learned=learned)
