"""What a graph explains: logits at the end of a prompt, or the difference of two tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from radiograph.core import Refusal, UserError

if TYPE_CHECKING:
    from radiograph.decompose.circuits import Context as Loss
    from radiograph.decompose.circuits import Goal
    from radiograph.methods.graph._circuits.opened import Case
    from radiograph.methods.graph._circuits.written import AnyCase

MOST = 10
MASS = 0.95


def goals_of(case: Case, target: str | None, label_id: int | None, positions: Literal["last", "all"]) -> list[Goal]:
    """At most ten tokens, or 95 % of the probability, of the last position or of each; or what `target` names.

    Raises:
        UserError: a text of several tokens, or more than one difference.
    """
    from radiograph.decompose.circuits import Goal
    from radiograph.methods.graph._circuits.opened import token_of

    last = case.prompt.length - 1
    if target is not None or label_id is not None:
        parts = [] if target is None else _sides(target)
        tokens = [token_of(case, part, None, option="--target") for part in parts]
        if label_id is not None:
            tokens = [token_of(case, None, label_id, option="--label-id"), *tokens[1:]]
        signs = tuple((t, s) for t, s in zip(tokens, (1.0, -1.0), strict=False) if t is not None)
        if len({token for token, _ in signs}) < len(signs):
            raise UserError("a token less itself is nothing", where="--target", expected='"A - B"', code="bad_value")
        return [Goal(last, signs, 1.0)]
    probabilities = case.prompt.logits.float().softmax(-1)
    found: list[Goal] = []
    places = range(case.prompt.length) if positions == "all" else [last]
    for place in places:
        values, tokens = probabilities[place].topk(min(MOST, probabilities.shape[-1]))
        heaped = 0.0
        for p, token in zip(values.tolist(), tokens.tolist(), strict=True):
            found.append(Goal(place, ((token, 1.0),), p / len(places)))
            heaped += p
            if heaped >= MASS:
                break
    return found


def needed(case: AnyCase, context: Loss, *, keep: float, max_loss: float | None) -> None:
    """Refuse a question to which the empty set is an answer: that a selection suffices would say nothing then.

    Raises:
        Refusal: `nothing_needed`, exit 4.
    """
    from radiograph.decompose.circuits import holds, nothing_kept

    empty = nothing_kept(case.prompt, context)
    if holds(context, empty.p, empty.loss, keep=keep, max_loss=max_loss):
        raise Refusal(
            "nothing_needed",
            "the label keeps what is asked for without a single component, so every selection would suffice",
            expected=f"less than p {keep * context.target_probability:.3g} with every mask 0"
            if max_loss is None
            else f"a loss of more than {context.target_loss + max_loss:.3g} with every mask 0",
            got=f"p {empty.p:.3g} and a loss of {empty.loss:.3g}; in the model p {context.target_probability:.3g}",
            fix="ask about a token that the model expects here",
        )


def _sides(target: str) -> list[str]:
    """`A` or `A - B`, with the spaces that belong to the tokens: ` red -  blue` is ` red` and ` blue`."""
    parts = target.split(" - ")
    if len(parts) > 2:
        raise UserError(
            f"{target!r} is more than one difference", where="--target", expected='"A" or "A - B"', code="bad_value"
        )
    return parts
