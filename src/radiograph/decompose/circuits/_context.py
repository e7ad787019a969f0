"""What a graph is about: its loss, and the label whose probability is followed.

`ce` −log p of a token at a position · `kl` KL(target ‖ masked) at a position · `mean_kl` its mean over positions ·
`-logit` minus the logit of a token at a position. One loss for all: the adversary raises it, optimisation lowers it,
and every regime reports it. Units: nats, logits. The label is a token at a position: that of the loss, else the
target's own first choice at the last position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from radiograph.core import UserError, nearest
from radiograph.core.shapes import Float
from radiograph.decompose.circuits._prompt import Maskable

LossKind = Literal["ce", "kl", "mean_kl", "-logit"]


@dataclass(frozen=True, slots=True)
class Label:
    """A token at a position."""

    token: int
    position: int


@dataclass(frozen=True, eq=False)
class Context:
    """Loss and label of one prompt."""

    kind: LossKind
    label: Label
    target: Float[Tensor, "position vocabulary"]
    """Log-probabilities of the target."""
    target_loss: float
    """The loss that the target has: of ce and -logit not 0."""

    def loss(self, logits: Float[Tensor, "row position vocabulary"]) -> Float[Tensor, " row"]:
        """Of every row."""
        token, position = self.label.token, self.label.position
        match self.kind:
            case "-logit":
                return -logits[:, position, token].float()
            case "ce":
                return -logits[:, position].float().log_softmax(-1)[:, token]
            case "kl":
                return _kl(self.target[position], logits[:, position])
            case _:
                return _kl(self.target, logits).mean(-1)

    def probability(self, logits: Float[Tensor, "row position vocabulary"]) -> Float[Tensor, " row"]:
        """Of the label."""
        return logits[:, self.label.position].float().softmax(-1)[:, self.label.token]

    def of_label(self) -> Context:
        """The same label with its own loss: what raises it is what makes the label unlikely."""
        if self.kind == "ce":
            return self
        loss = -float(self.target[self.label.position, self.label.token])
        return Context("ce", self.label, self.target, loss)

    @property
    def target_probability(self) -> float:
        """Of the label, in the target."""
        return float(self.target[self.label.position, self.label.token].exp())


def context_of(prompt: Maskable, kind: str, *, token: int | None = None, position: int | None = None) -> Context:
    """The context of a prompt; token and position default to the target's first choice at the last position.

    Raises:
        UserError: an unknown loss, a position beyond the prompt, or a token outside the vocabulary.
    """
    if kind not in get_args(LossKind):
        close = nearest(kind, list(get_args(LossKind)))
        raise UserError(
            f"no loss {kind!r} of a prompt",
            where="--recon",
            expected=", ".join(get_args(LossKind)),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_loss",
        )
    place = prompt.length - 1 if position is None else position
    if not 0 <= place < prompt.length:
        raise UserError(
            f"position {place} is beyond the prompt", expected=f"0 to {prompt.length - 1}", code="unknown_node"
        )
    vocabulary = prompt.logits.shape[-1]
    if token is not None and not 0 <= token < vocabulary:
        raise UserError(f"no token has the id {token}", expected=f"0 to {vocabulary - 1}", code="unknown_id")
    logs = prompt.logits.float().log_softmax(-1)
    label = Label(int(logs[place].argmax()) if token is None else token, place)
    found = Context(kind, label, logs, 0.0)  # type: ignore[arg-type]
    return replace(found, target_loss=float(found.loss(prompt.logits[None])[0]))


def _kl(target: Tensor, logits: Tensor) -> Tensor:
    masked = logits.float().log_softmax(-1)
    return torch.nn.functional.kl_div(masked, target.expand_as(masked), reduction="none", log_target=True).sum(-1)
