"""The model that was decomposed, opened with its decomposition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import Context, UserError

if TYPE_CHECKING:
    from radiograph.decompose import Decomposition
    from radiograph.models.masked import Target


def target_of(ctx: Context, decomposition: Decomposition, model: str | None) -> Target:
    """The model, by default the one that the decomposition names, as something whose weights have addresses.

    Raises:
        UserError: a decomposition of a toy. Refusal: `decomposition_mismatch`, it is of another model.
    """
    from radiograph.models.masked import of_model

    own = decomposition.document.target
    if not own.tokens:
        raise UserError(
            f"{own.reference} is a toy: it reads vectors, not texts",
            expected="a decomposition of a language model",
            code="not_a_language_model",
        )
    target = of_model(ctx.model(model or own.reference, "model"))
    decomposition.check(target)
    return target
