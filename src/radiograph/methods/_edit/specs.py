"""`--edit` SPEC: what is done to the chosen parts.

    scale:f          (f − 1) U ⊗ V: 0 takes a part out, 2 doubles it
    write:TOKEN:a    a û ⊗ V, û the unit direction that raises the token's logit; no training. A space before the token
                     is part of it

    --rewrite FILE     δU ⊗ V: each part writes the vector U/ADDRESS of FILE.safetensors instead of its own

`when:τ` (only where importance exceeds τ) is refused: no matrix does that, so neither adapter nor baked weights could.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import FormatError, UserError, visible
from radiograph.methods._decomposed.token import one_token
from radiograph.models.lowrank import Factors

if TYPE_CHECKING:
    from radiograph.core.components import Component
    from radiograph.methods._edit.parts import Parts

FORMS = "scale:F or write:TOKEN:A"


@dataclass(frozen=True, slots=True)
class Spec:
    """One edit of every chosen part."""

    kind: str
    amount: float
    token: str | None = None

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read a spec.

        Raises:
            UserError: another form, or a number that is none.
        """
        if "when:" in text:
            raise UserError(
                "an edit that depends on importance is no matrix: neither an adapter nor baked weights can hold it",
                where="--edit",
                got=text,
                fix="leave when: out; `intervene` writes to activations where a component fires",
                code="gated",
            )
        kind, _, rest = text.strip().partition(":")
        if kind == "scale" and rest:
            return cls("scale", _number(rest, text))
        if kind == "write":
            token, _, amount = rest.rpartition(":")
            if token.strip():
                return cls("write", _number(amount, text), token)
        raise UserError(f"{text!r} is no edit", where="--edit", expected=FORMS, code="bad_edit")

    def __str__(self) -> str:
        return f"scale:{self.amount:g}" if self.kind == "scale" else f"write:{self.token}:{self.amount:g}"

    def writes(self, parts: Parts) -> int | None:
        """The token that is written, if one is."""
        return None if self.token is None else one_token(parts.model, self.token, where="--edit")

    def additions(self, parts: Parts, chosen: Sequence[Component]) -> dict[str, Factors]:
        """What is added to the weights.

        Raises:
            UserError: a token of several pieces; `write` at a weight that does not write to the residual stream.
        """
        from radiograph.methods._edit.directions import unembedding
        from radiograph.methods._edit.measure import scaled

        if self.kind == "scale":
            return scaled(parts, chosen, dict.fromkeys(chosen, self.amount))
        assert self.token is not None, "parsed"
        inside = [c for c in chosen if c.weight.partition(".")[0] not in ("o", "down", "embed")]
        if inside:
            raise UserError(
                f"{inside[0]} does not write to the residual stream, so no token's direction is there",
                where="--edit",
                expected="components of o, down or embed",
                code="bad_edit",
            )
        direction = unembedding(parts, one_token(parts.model, self.token, where="--edit")) * self.amount
        found: dict[str, Factors] = {}
        for address in dict.fromkeys(c.weight for c in chosen):
            index = [c.index for c in chosen if c.weight == address]
            reads = parts.factors[address].reads[:, index]
            found[address] = Factors(reads, direction.expand(len(index), -1).contiguous())
        return found


def rewritten(parts: Parts, chosen: Sequence[Component], file: Path) -> dict[str, Factors]:
    """What is added so that every chosen part writes what a file says.

    Raises:
        FormatError: not safetensors, or a vector of another length or not finite.
        UserError: a part without its vector, or a vector of no chosen part.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        given = load(file.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise FormatError("not safetensors", where=str(file.name), got=str(error)[:200]) from error
    names = {f"U/{component}" for component in chosen}
    if names != set(given):
        away, spare = sorted(names - set(given)), sorted(set(given) - names)
        raise UserError(
            f"{file.name} holds no {away[0]}"
            if away
            else f"{file.name} holds {visible(spare[0], 60)}, of no chosen part",
            where="--rewrite",
            expected=", ".join(sorted(names)),
            got=", ".join(visible(name, 60) for name in sorted(given)[:10]) or "nothing",
            code="bad_edit",
        )
    found: dict[str, Factors] = {}
    for address in dict.fromkeys(c.weight for c in chosen):
        own = parts.factors[address]
        index = [c.index for c in chosen if c.weight == address]
        rows = [given[f"U/{address}:{n}"] for n in index]
        for n, row in zip(index, rows, strict=True):
            if row.shape != own.writes.shape[1:] or not bool(torch.isfinite(row.double()).all()):
                raise FormatError(
                    f"U/{address}:{n} is not what it can write",
                    where=file.name,
                    expected=f"{own.writes.shape[1]} finite numbers",
                    got=f"shape {tuple(row.shape)}",
                )
        writes = torch.stack(rows).to(own.writes) - own.writes[index]
        found[address] = Factors(own.reads[:, index], writes)
    return found


def _number(text: str, spec: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{text!r} is no number", where=f"--edit {spec!r}", expected=FORMS, code="bad_edit")
    return value


def norm(additions: dict[str, Factors]) -> float:
    """Frobenius norm over all weights."""
    total = 0.0
    for own in additions.values():
        gram = (own.reads.double().T @ own.reads.double()) * (own.writes.double() @ own.writes.double().T)
        total += float(gram.sum())
    return math.sqrt(max(total, 0.0))


def whole(parts: Parts, additions: dict[str, Factors]) -> dict[str, Factors]:
    """What goes on the reference: the edit itself, or of an adapter all its pieces with the edit among them.

    A piece that the edit scales is scaled in place, so that a piece that is taken out leaves no direction behind.
    """
    import torch

    from radiograph.interventions.edits import joined

    if parts.kind == "components":
        return joined(parts.under or {}, additions)
    found: dict[str, Factors] = {}
    for address, own in parts.factors.items():
        more = additions.get(address)
        if more is None:
            found[address] = own
            continue
        writes = own.writes.clone()
        rest = torch.ones(more.size, dtype=torch.bool)
        for n in range(own.size):
            same = (more.reads == own.reads[:, n : n + 1]).all(0)
            if bool(same.any()):
                total = writes[n] + more.writes[same].sum(0)
                # (f − 1) U + U at f = 0 is exact in floating point: −U + U = 0.
                writes[n], rest = total, rest & ~same
        kept = Factors(own.reads, writes)
        left = Factors(more.reads[:, rest], more.writes[rest])
        found[address] = joined({"": kept}, {"": left})[""] if left.size else kept
    return found
