"""What `dictionary train` measures beside what the trainer does: the random control, and with a model the splice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from radiograph.core import Refusal, UserError
from radiograph.evidence import Estimate

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary, Quality
    from radiograph.methods.dictionary._job import Job
    from radiograph.models import LanguageModel

CONTROL_BATCHES = 4
WINDOW = 512


@dataclass(frozen=True, eq=False)
class Measurement:
    """A dictionary that knows how good it is, beside a random one."""

    dictionary: Dictionary
    fvu_random: float | None
    recovered_zero: Estimate | None = None
    recovered_mean: Estimate | None = None
    missing: str | None = None
    """Why nothing was spliced."""


def measure(job: Job, dictionary: Dictionary, model: LanguageModel | None) -> Measurement:
    """Compare with a random dictionary on validation rows; splice both if there is a model and its texts."""
    import torch

    from radiograph.dictionaries import evaluate, random_control
    from radiograph.dictionaries.training import validation_rows

    batches = list(islice(validation_rows(job.activations, job.places), CONTROL_BATCHES))
    inputs, targets = (torch.cat(column) for column in zip(*batches, strict=True))
    control = random_control(dictionary, inputs, job.ctx.seed, targets if dictionary.target is not None else None)
    chance = evaluate(control, [(inputs, targets)]).fvu
    missing = _unspliced(job, dictionary, model)
    update: dict[str, Any] = {}
    recovered: dict[str, Estimate | None] = {}
    if model is not None and missing is None:
        losses, random = _losses(job, model, dictionary, control)
        update, recovered, missing = _recovered(losses, random)
    found = dictionary.metadata
    assert found.quality is not None
    neutral = _neutral(dictionary, model) if model is not None and dictionary.kind == "sae" else None
    known = {"quality": found.quality.model_copy(update=update), "neutral": neutral}
    return Measurement(
        replace(dictionary, metadata=found.model_copy(update=known)), chance, **recovered, missing=missing
    )


def _unspliced(job: Job, dictionary: Dictionary, model: LanguageModel | None) -> str | None:
    if dictionary.kind == "crosscoder":
        return "a crosscoder is spliced one source at a time: see `dictionary evaluate`"
    if model is None or not job.config.data:
        return "that needs --model and --data"
    return None


def _losses(job: Job, model: LanguageModel, dictionary: Dictionary, control: Dictionary) -> tuple[Any, Any]:
    """Splice both into the model on those texts that are on the validation side."""
    from radiograph.core.sites import REFERENCE
    from radiograph.harvest import windows
    from radiograph.interventions import splices

    index = job.activations.index
    cut = windows(
        model.tokenizer,
        job.ctx.texts(job.config.data),
        length=min(WINDOW, model.context_length),
        validation=index.validation,
        salt=index.split_salt,
    )
    held = [window for window in cut if window.split == "validation"]
    if not held:
        raise UserError("no text of --data is on the validation side", fix="give the texts that were harvested")
    codecs = {"dictionary": dictionary, "control": control}
    found = splices({REFERENCE: model}, codecs, [w.ids for w in held], [w.kept for w in held])
    return found["dictionary"], found["control"]


def _recovered(losses: Any, random: Any) -> tuple[dict[str, Any], dict[str, Estimate | None], str | None]:
    """What goes into the dictionary's quality, the estimates beside their nulls, and why one is missing."""
    update: dict[str, Any] = {"delta_ce": losses.delta_ce}
    estimates: dict[str, Estimate | None] = {}
    missing = None
    for name in ("recovered_zero", "recovered_mean"):
        value, null = getattr(losses, name), getattr(random, name)
        if isinstance(value, Refusal):
            estimates[name], missing = None, value.message
            continue
        null = None if isinstance(null, Refusal) else null
        estimates[name] = Estimate(value=value, n=losses.n_tokens, unit="share", null=null)
        update[f"ce_{name}"] = value
    return update, estimates, missing


def _neutral(dictionary: Dictionary, model: LanguageModel) -> Quality:
    """Quality on the standard neutral texts, so that a guard can later measure the same thing."""
    from radiograph.dictionaries import evaluate
    from radiograph.harvest import harvest, read
    from radiograph.organisms import standard_neutral

    shards = harvest(model, read(standard_neutral(model.tokenizer)), [dictionary.site])
    return evaluate(dictionary, [shards.rows(dictionary.site)])
