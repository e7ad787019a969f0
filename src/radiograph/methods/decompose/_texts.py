"""What `decompose harvest` and `decompose attribute` read: windows of text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, UserError, Workers

if TYPE_CHECKING:
    from radiograph.decompose.statistics import Texts
    from radiograph.harvest import Plan
    from radiograph.models.masked import Target


def texts_of(plan: Plan, seed: int, record_tokens: int) -> Texts:
    """What is fed, and which windows are recorded."""
    import numpy as np

    from radiograph.decompose.statistics import Texts, recorded_windows

    documents = tuple(plan.prompts["prompt_id"].to_list())
    parts = plan.prompts["window"].to_numpy().astype(np.int64)
    # The tokens of a plan lie in the order in which texts were read; a subset leaves gaps, which are closed here.
    take = np.concatenate(
        [np.arange(s, s + n) for s, n in zip(plan.starts.tolist(), plan.lengths.tolist(), strict=True)]
    )
    return Texts(
        tokens=np.asarray(plan.tokens)[take],
        counted=np.asarray(plan.kept)[take],
        starts=np.cumsum(plan.lengths) - plan.lengths,
        lengths=plan.lengths,
        documents=documents,
        groups=tuple(plan.prompts["group"].to_list()),
        parts=parts,
        recorded=recorded_windows(seed, documents, parts, plan.rows, record_tokens),
    )


def plan_of(ctx: Context, target: Target, corpus: Any, max_length: int, max_tokens: int | None) -> Plan:
    """Texts as windows; a subset is whole documents, drawn by hash."""
    from radiograph import harvest

    assert target.model is not None, "it reads tokens"
    return harvest.plan(
        target.model.tokenizer,
        corpus,
        harvest.Reading(length=min(max_length, target.model.context_length)),
        harvest.Limits(max_tokens=max_tokens, seed=ctx.seed, validation=0.0),
        vocabulary=target.model.vocab_size,
        progress=ctx.progress,
    )


def folder_of(ctx: Context, earlier: Path | None, name: str) -> Path:
    """A folder of the bundle, taken over from an unfinished run that has one."""
    if earlier is None or not (earlier / name).is_dir():
        return ctx.output.folder(name)
    return ctx.output.adopt(earlier, name)


def shareable(target: Target, workers: Workers) -> None:
    """Refuse a model that other processes cannot load.

    Raises:
        UserError: it is in memory alone.
    """
    assert target.model is not None, "it reads tokens"
    if target.model.folder is None and (workers.ray or workers.count > 1):
        raise UserError("the model is in memory alone", fix="save it to a folder, or use one worker")
