"""Continue prompts: the simple door to the decode loop of `decoding`.

1. sort prompts by length and cut them into batches   2. decode each, greedily or sampled   3. give results in order
Greedy ids equal Hugging Face's `generate(do_sample=False)` on each prompt alone. A sampled row depends on the seed, its
prompt and how often that prompt stood in the list before, and not on the batch it stands in. Works inside `edit`, whose
functions then see new positions only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from radiograph.core import UserError
from radiograph.evidence import Decoding
from radiograph.models._batching import Tokens, plan
from radiograph.models._forward import check_tokens
from radiograph.models._model import LanguageModel
from radiograph.models.decoding import Line, decode

FinishReason = Literal["stop", "length", "context"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Draw instead of taking the most likely token; `top_p` keeps the smallest set of tokens with that probability."""

    seed: int
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 < self.top_p <= 1):
            raise UserError(
                "sampling needs temperature > 0 and 0 < top_p <= 1",
                got=f"{self.temperature}, {self.top_p}",
                where="sampling",
            )


@dataclass(frozen=True, slots=True)
class Generated:
    """One continuation. `ids` exclude the prompt and include the stop token, which `text` leaves out."""

    ids: tuple[int, ...]
    text: str | None
    finish: FinishReason
    n_prompt: int

    @property
    def n_tokens(self) -> int:
        """Tokens generated, the stop token included."""
        return len(self.ids)


def generate(
    model: LanguageModel,
    prompts: Tokens,
    *,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    stop: Sequence[int] | None = None,
    batch_tokens: int = 8192,
    batch_rows: int = 64,
) -> list[Generated]:
    """Continue every prompt; results in the prompts' order.

    Args:
        model: the model, inside or outside an `edit`.
        prompts: token ids per prompt.
        max_new_tokens: budget per prompt.
        sampling: None decodes greedily.
        stop: ids that end a row; None takes those of the generation config and the tokenizer.
        batch_tokens: padded prompt tokens per batch.
        batch_rows: prompts per batch.

    Raises:
        UserError: an empty prompt, a prompt that fills the context, logits that are not finite.
    """
    check_tokens(model, prompts)
    stops = frozenset(stop_ids(model) if stop is None else stop)
    decoding = _decoding(sampling, max_new_tokens)
    lines, seen = list[Line](), Counter[tuple[int, ...]]()
    for ids in map(tuple, prompts):
        lines.append(Line(ids, sample=seen[ids]))
        seen[ids] += 1
    results: dict[int, Generated] = {}
    for rows in plan([len(ids) for ids in prompts], batch_tokens, batch_rows):
        for row, done in zip(
            rows, decode(model, [lines[r] for r in rows], decoding, rows=rows, stops=stops), strict=True
        ):
            assert done.ending != "non-finite"
            results[row] = Generated(tuple(done.ids), done.text, done.ending, len(prompts[row]))
    return [results[row] for row in range(len(prompts))]


def _decoding(sampling: Sampling | None, new_tokens: int) -> Decoding:
    if sampling is None:
        return Decoding(new_tokens=new_tokens)
    return Decoding(
        mode="sample",
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        new_tokens=new_tokens,
        seed=sampling.seed,
    )


def stop_ids(model: LanguageModel) -> tuple[int, ...]:
    """End-of-sequence ids of the generation config, the config and the tokenizer together."""
    found: set[int] = set()
    sources = (getattr(model.model, "generation_config", None), model.model.config, model.tokenizer)
    for value in (getattr(source, "eos_token_id", None) for source in sources):
        found.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return tuple(sorted(found))
