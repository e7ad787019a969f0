"""Edit chosen components of a model: take them out, scale them, or let them write another token.

1. the parts of MODEL: components of its decomposition (h = x V, written to U), or the pieces of its adapter
2. --edit: `scale:F` adds (F − 1) U ⊗ V, `write:TOKEN:A` adds A û ⊗ V with û the unit unembedding row, the final norm's
   gain folded in
3. measured per document: KL(after ‖ before) and the perplexity ratio near (where a chosen part fires), in the window,
   and far; answers of the examples before and after; greedy continuations; firings changed; 20 equal-norm edits of
   random live parts are the null
4. written: `adapter/` for PEFT (of REFERENCE+ADAPTER: all its pieces with the edit among them, so that the new adapter
   takes the old one's place), and with --bake a plain copy, the original bytes of every changed tensor in the bundle
5. accepted when what is wanted (the foils, --target, or the token that is written, where a chosen part fires) gains
   --gain with a lower bound above 0, and far KL's upper bound is at most --max-far (the null's 95th percentile, at
   least .01)

Units: nats a token; intervals are bootstrap over documents. Exit codes: 2 where it reaches too far or gains too little,
4 where fewer than 30 firings were seen. Refuses when: a part fires nowhere; the decomposition is of another model.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, Input, ModelRef, RunPath
from radiograph.evidence.edits import Edit

ExamplesRef = Annotated[str, Input("file")]
PartsRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Which parts of which model, and what is done to them."""

    model: ModelRef
    """REFERENCE+ADAPTER, or a plain model that has a decomposition."""
    component: tuple[str, ...] = ()
    """Parts, as down.3:17; several by comma. Repeatable."""
    search: RunPath | None = None
    """A run of `edit search`: its selection and its pieces."""
    decomposition: PartsRef | None = None
    """Of MODEL; by default that of --search, or the one that fits."""
    edit: str = "scale:0"
    """scale:F (0 takes out, 2 doubles) or write:TOKEN:A."""
    examples: ExamplesRef | None = None
    """Prompts that show the behaviour: a file or a run of `audit`; by default those of --search."""
    target: str | None = None
    """A token that is to become likely after the examples' prompts; by default their foils."""
    data: tuple[DataRef, ...] = ()
    """Text on which the effect is measured, as world:mixture#200. Repeatable."""
    data_rows: int = Field(default=200, ge=8)
    """Most windows of it."""
    draws: int = Field(default=20, ge=0)
    """Random edits of equal norm."""
    gain: float = Field(default=0.3, ge=0, le=1)
    """Least rise of the probability that is wanted."""
    max_far: float | None = Field(default=None, gt=0)
    """Most far KL, nats; by default the null's 95th percentile, at least 0.01."""
    bake: str | None = None
    """A new folder for a plain copy with the edit in its weights."""
    audit: bool = False
    """Audit the edited model against its reference, as a step."""


def run(config: Config, ctx: Context) -> Edit:
    """Open, add, measure, write."""
    from radiograph.methods._edit import made
    from radiograph.methods._edit.given import edited, opened
    from radiograph.methods._edit.specs import Spec

    spec = Spec.parse(config.edit)
    given = opened(ctx, config, config.search)
    additions = spec.additions(given.parts, given.chosen)
    asked = made.Asked(
        "apply",
        config.model,
        str(spec),
        given.parts,
        given.chosen,
        additions,
        given.examples,
        given.plain,
        given.target,
        config.draws,
        config.gain,
        config.max_far,
        config.bake,
        spec.writes(given.parts),
    )
    return edited(ctx, made.finished(ctx, asked), config)


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Distances, gains, limit and judgement again from the tables."""
    from radiograph.methods._edit.again import problems

    return problems(Edit.read(result), folder)
