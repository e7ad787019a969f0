"""Regimes of a selection as records: numbers, tokens, the word that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiograph.evidence.graphs import (
    AdversarialRecord,
    ControlsRecord,
    LabelRow,
    LossRecord,
    RegimeRecord,
    StochasticRecord,
    TokenRow,
)

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.decompose.circuits import Context, Measured, Regimes
    from radiograph.methods.graph._circuits.coded import CodedCase
    from radiograph.methods.graph._circuits.opened import Case

    AnyCase = Case | CodedCase


def loss_record(context: Context) -> LossRecord:
    """The loss, with token and position where it has them."""
    token = context.label.token if context.kind in ("ce", "-logit") else None
    position = None if context.kind == "mean_kl" else context.label.position
    return LossRecord(kind=context.kind, token=token, position=position)


def regime_records(
    case: AnyCase, context: Context, found: Regimes, *, top_k: int, positions: str, ablated: int | None
) -> dict[str, Any]:
    """Every regime that was measured."""
    shared: dict[str, Any] = {"case": case, "context": context, "top_k": top_k, "positions": positions}
    stochastic, attack = found.stochastic, found.adversarial
    assert stochastic.worst_p is not None
    assert stochastic.worst_loss is not None
    return {
        "importance": RegimeRecord(**_base(found.importance, **shared)),
        "stochastic": StochasticRecord(
            **_base(stochastic, **shared),
            draws=stochastic.draws,
            worst_p=stochastic.worst_p,
            worst_loss=stochastic.worst_loss,
        ),
        "adversarial": AdversarialRecord(
            **_base(attack.measured, **shared),
            best_random=attack.best_random,
            mean_random=attack.mean_random,
            freedom=attack.freedom,
            no_freedom=attack.no_freedom,
            steps=attack.steps,
            starts=attack.starts,
            label_p=attack.label.p if attack.label.p < attack.measured.p else None,
        ),
        "ablated": None if found.ablated is None else RegimeRecord(**_base(found.ablated, **shared), nodes=ablated),
    }


def controls_record(own: float, controls: list[float]) -> ControlsRecord | None:
    """The selection among its controls; ties count against it."""
    if not controls:
        return None
    better = sum(one >= own for one in controls)
    return ControlsRecord(
        sets=len(controls), p=tuple(controls), rank=1 + better, p_value=(1 + better) / (1 + len(controls))
    )


def _base(found: Measured, case: AnyCase, context: Context, top_k: int, positions: str) -> dict[str, Any]:
    return {
        "p": found.p,
        "loss": found.loss,
        "label": _label(case, context, found.logits),
        "top": _top(case, context, found.logits, top_k, positions),
    }


def _label(case: AnyCase, context: Context, logits: Tensor) -> LabelRow:
    token, position = context.label.token, context.label.position
    own, target = logits[position].float(), case.prompt.logits[position].float()
    return LabelRow(
        token=token,
        text=case.token(token),
        position=position,
        p=float(own.softmax(-1)[token]),
        logit=float(own[token]),
        rank=1 + int((own > own[token]).sum()),
        target_p=float(target.softmax(-1)[token]),
        target_logit=float(target[token]),
        target_rank=1 + int((target > target[token]).sum()),
    )


def _top(case: AnyCase, context: Context, logits: Tensor, top_k: int, positions: str) -> tuple[TokenRow, ...]:
    places = range(len(logits)) if positions == "all" else [context.label.position]
    rows: list[TokenRow] = []
    for position in places:
        own, target = logits[position].float(), case.prompt.logits[position].float()
        p, target_p = own.softmax(-1), target.softmax(-1)
        for rank, token in enumerate(own.topk(min(top_k, len(own))).indices.tolist(), start=1):
            rows.append(
                TokenRow(
                    position=position,
                    rank=rank,
                    token=token,
                    text=case.token(token),
                    p=float(p[token]),
                    logit=float(own[token]),
                    target_p=float(target_p[token]),
                    target_logit=float(target[token]),
                )
            )
    return tuple(rows)
