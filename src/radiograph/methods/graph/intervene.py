"""Does this set of components suffice for the answer, even against the worst of the rest?

1. S: nodes of a graph (a run of `graph prompt` or `graph optimise`), those of --select, or all but those of --deselect.
   Alive nodes N are recomputed from the model on the prompt, never taken from the graph
   Of a graph from elsewhere they are features of its dictionaries: codes are masked, the reconstruction error is Δ
2. four regimes: `importance` (S alone), `stochastic` (the rest random), `adversarial` (N∖S attacked: the worse of
   4 x 1.0 and 20 x 0.1 from 4 starts), `ablated` (the full model, Δ on, without the listed nodes A)
3. one loss for all, that of the graph; the label's probability, logit and rank in each, beside the target's. Where the
   loss is not the label's own the label is attacked as well: the grade is of the lower of the two
4. controls: random sets of alive nodes with as many at each weight and position; p = (1 + #)/(1 + sets)
Grades: suffices · suffices without adversary · does not suffice; `contributes` of ablated nodes. Never "necessary".

Units: nats, logits, probabilities. `--require suffices` else exit 2. Refuses when: a node is not alive or is a
pseudo-node (exit 3); the graph came from elsewhere and no dictionaries are given (`dictionary_missing`, exit 4); the
label is kept without any component (`nothing_needed`, exit 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DecompositionRef, Input, ModelRef
from radiograph.evidence.graphs import Grade, Regimes

LIMITS = ("json-bytes",)
GraphRef = Annotated[str, Input("file")]


class Config(Base):
    """Which graph, which nodes, and what is taken from the rest."""

    graph: GraphRef
    """A run of graph prompt or graph optimise, or a graph.json."""
    select: tuple[str, ...] = ()
    """Nodes that are kept, as down.2:17/5; by default those of the graph. Repeatable."""
    deselect: tuple[str, ...] = ()
    """Nodes that are taken from those. Repeatable."""
    ablate: str = "none"
    """Nodes taken out of the full model, by comma; rest: alive and not selected; none; empty: an empty list."""
    delta: Literal["off", "random", "attacked"] = "off"
    """What the components leave out of their weights, in the first three regimes."""
    decomposition: DecompositionRef | None = None
    """By default the one that the run used."""
    model: ModelRef | None = None
    """The model that was decomposed; by default the one that the decomposition names."""
    dictionary: tuple[str, ...] = ()
    """Of a graph from elsewhere: SITE=DICTIONARY; repeatable."""
    draws: int = Field(default=64, ge=2)
    """Draws of the stochastic regime."""
    controls: int = Field(default=19, ge=0)
    """Random sets beside the selection."""
    keep: float = Field(default=0.9, gt=0, le=1)
    """Share of the label's probability that must be left."""
    max_loss: float | None = Field(default=None, ge=0)
    """Instead of --keep: the most by which the loss may exceed the target's."""
    top_k: int = Field(default=5, ge=1, le=100)
    """Tokens listed of each regime."""
    positions: Literal["last", "all"] = "last"
    """Where they are listed."""
    require: Grade | None = None
    """Grade without which the exit code is 2."""


def run(config: Config, ctx: Context) -> Regimes:
    """Open, recompute what is alive, measure, grade, write."""
    from radiograph.methods.graph._circuits.intervened import intervened

    return intervened(config, ctx)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """The grade, the word on ablation and p against controls again; whether the stored masks keep what is selected."""
    from radiograph.methods.graph._circuits.again import regime_problems

    return regime_problems(folder, Regimes.read(result))
