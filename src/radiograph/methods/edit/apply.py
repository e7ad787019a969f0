"""Edit chosen components of a model: take them out, scale them, or let them write another token.

1. the parts of MODEL: components of its decomposition (h = x V, written to U), or the pieces of its adapter
2. --edit: `scale:F` adds (F − 1) U ⊗ V, `write:TOKEN:A` adds A û ⊗ V with û the unit unembedding row, the final norm's
   gain folded in; --rewrite adds (U' − U) ⊗ V with U' from a file
3. measured per document: KL(after ‖ before) and the perplexity ratio near (where a chosen part fires), in the window,
   and far; answers of the examples before and after; greedy continuations; firings changed; 20 equal-norm edits of
   random live parts are the null
4. written: `adapter/` for PEFT (of REFERENCE+ADAPTER: all its pieces with the edit among them, so that the new adapter
   takes the old one's place), and with --bake a plain copy, the original bytes of every changed tensor in the bundle
5. accepted when what is wanted (the foils, --target, or the token that is written, where a chosen part fires) gains
   --gain with a lower bound above 0, and far KL's upper bound is at most --max-far (the null's 95th percentile, at
   least .01). Fewer than six examples or texts have no interval, and an edit without one is not judged

Units: nats a token; intervals are bootstrap over documents. Exit codes: 2 where it reaches too far or gains too little,
4 where fewer than 30 firings were seen. Refuses when: a part fires nowhere; the decomposition is of another model.
"""

from __future__ import annotations

from typing import Any

from radiograph.core import Context, FilePath, UserError
from radiograph.evidence.edits import Edit
from radiograph.methods._edit.options import EditOptions


class Config(EditOptions):
    """Which parts of which model, and what is done to them."""

    edit: str = "scale:0"
    """scale:F (0 takes out, 2 doubles) or write:TOKEN:A."""
    rewrite: FilePath | None = None
    """Instead: FILE.safetensors with the vector U/ADDRESS that each part is to write, as U/down.3:17."""
    target: str | None = None
    """A token that is to become likely after the examples' prompts; by default their foils."""


def run(config: Config, ctx: Context) -> Edit:
    """Open, add, measure, write."""
    from radiograph.methods._edit import made
    from radiograph.methods._edit.given import edited, opened
    from radiograph.methods._edit.specs import Spec, rewritten

    spec = Spec.parse(config.edit)
    if config.rewrite is not None and "edit" in config.model_fields_set:
        raise UserError(
            "parts are rewritten or edited, not both", where="--rewrite", fix="leave out --edit", code="bad_edit"
        )
    given = opened(ctx, config)
    token = None
    if config.rewrite is not None:
        file = ctx.path(config.rewrite, "rewrite")
        additions, said = rewritten(given.parts, given.chosen, file), f"rewrite:{file.name}"
    else:
        additions, said, token = spec.additions(given.parts, given.chosen), str(spec), spec.writes(given.parts)
    asked = made.Asked(
        "apply",
        config.model,
        said,
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
        token,
        own_examples=given.searched_by,
    )
    return made.baked(ctx, asked, edited(ctx, made.finished(ctx, asked), config))


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Distances, gains, limit and judgement again from the tables."""
    from radiograph.methods._edit.again import problems

    return problems(Edit.read(result), folder)
