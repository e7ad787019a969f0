"""Train chosen components of a model, and nothing else, until it answers otherwise.

1. the parameters are the differences δU, δV of the chosen parts, 0 at the start, on top of the model's own untouched
   products: y + x (V δU + δV U + δV δU). Step 0 is the model bit for bit
2. --objective ce: the completions of --examples become likely. kl: the answers' distribution becomes that of the
   reference of REFERENCE+ADAPTER. contrast: the foils become likelier than the completions
3. --keep: KL to the model before, on other text
4. what comes out is a low-rank edit: measured, written and judged as an `edit apply`

Units: nats a token. More examples are not better: they reach further. Refuses as `edit apply`; `contrast` without
foils, `kl` without a reference. On an error or an interrupt the model is as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Context, FilePath, UserError
from radiograph.evidence.edits import Edit
from radiograph.methods._edit.options import EditOptions

if TYPE_CHECKING:
    from radiograph.methods._edit.given import Given
    from radiograph.methods._edit.searched import Side


class Config(EditOptions):
    """Which parts of which model, trained on what."""

    side: Literal["U", "V", "both"] = "U"
    """What is trained: what is written, when, or both."""
    objective: Literal["ce", "kl", "contrast"] = "ce"
    """Completions likelier; the reference's distribution; foils over completions."""
    keep: tuple[FilePath, ...] = ()
    """Text that must stay as it is, as world:mixture#200. Repeatable."""
    keep_rows: int = Field(default=64, ge=1)
    """Most windows of it."""
    keep_weight: float = Field(default=10.0, ge=0)
    """Nats on it count this much more than nats on examples."""
    steps: int = Field(default=100, ge=0)
    """Steps of AdamW, weight decay 0."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""


def run(config: Config, ctx: Context) -> Edit:
    """Open, train, measure, write."""
    from radiograph.methods._edit import made
    from radiograph.methods._edit.given import edited, opened
    from radiograph.methods._edit.trained import Trainer, train

    given = opened(ctx, config)
    own, foils, keep = _sides(config, ctx, given)
    trainer = Trainer(given.parts, given.chosen, config.side, config.lr)
    with ctx.measure("train"):
        steps = train(
            ctx, trainer, config.objective, own, foils, keep, steps=config.steps, keep_weight=config.keep_weight
        )
    assert given.examples is not None, "checked"
    asked = made.Asked(
        "train",
        config.model,
        f"{config.objective} on {config.side}",
        given.parts,
        given.chosen,
        trainer.additions(detached=True),
        given.examples,
        given.plain,
        given.examples.own if config.objective == "ce" else (),
        config.draws,
        config.gain,
        config.max_far,
        config.bake,
        steps=tuple(steps),
        own_examples=True,
    )
    return made.baked(ctx, asked, edited(ctx, made.finished(ctx, asked), config))


def _sides(config: Config, ctx: Context, given: Given) -> tuple[list[Side], list[Side], list[Side]]:
    """Examples, foils and text to keep, each with what is wanted of it."""
    from radiograph.methods._edit import examples as _examples
    from radiograph.methods._edit.searched import Side, wanted

    if given.examples is None:
        raise UserError("edit train needs --examples", expected="FILE of {prompt, completion}, or --search RUN")
    reference = None
    if config.objective == "kl":
        if given.parts.reference is None:
            raise UserError(
                "kl is towards the reference, and a plain model has none",
                where="--objective",
                fix="ce or contrast, or MODEL as REFERENCE+ADAPTER",
                code="no_reference",
            )
        reference = given.parts.reference
    foils = [row for row in given.examples.foils if row is not None]
    if config.objective == "contrast" and len(foils) != len(given.examples.own):
        raise UserError(
            "contrast needs a foil for every example", where="--examples", got=f"{len(foils)} foils", code="no_foil"
        )
    rows = _examples.texts(ctx, given.parts.model, config.keep, ctx.seed, config.keep_rows) if config.keep else ()
    own = wanted(reference, given.examples.own)
    against = [Side(b, None) for b in _examples.batches(foils)] if config.objective == "contrast" else []
    return own, against, wanted(given.parts.model, rows)


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Distances, gains, limit and judgement again from the tables."""
    from radiograph.methods._edit.again import problems

    return problems(Edit.read(result), folder)
