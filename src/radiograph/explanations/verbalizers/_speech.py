"""A model that goes on writing while a vector stands in for what it computed at some tokens of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from radiograph.core import Refusal, Site
from radiograph.core.shapes import Float

if TYPE_CHECKING:
    from radiograph.models import LanguageModel


@dataclass(frozen=True)
class Voice:
    """What a verbalizer is made of."""

    model: LanguageModel
    """Whose vectors are said."""
    site: Site
    """Where they are written."""
    speaker: LanguageModel | None = None
    """Another model that speaks."""
    speaker_folder: Path | None = None
    reconstructor: LanguageModel | None = None
    reconstructor_folder: Path | None = None


@dataclass(frozen=True, eq=False)
class Speech:
    """Implements `Verbalizer` by writing vectors into one prompt."""

    name: str
    site: Site
    model_sha256: str
    scale: Literal["unit_norm", "raw"]
    speaker: LanguageModel
    at: Site
    """Where the speaker is written to."""
    ids: tuple[int, ...]
    places: tuple[int, ...]
    """Tokens of the prompt whose activation is replaced."""
    new_tokens: int
    norm: float | None
    """Length of what is written; None: as long as what it replaces."""

    def verbalize(self, vectors: Float[Tensor, "batch width"], seed: int) -> list[str]:
        """The greedy continuation for each vector; without sampling the seed decides nothing.

        Raises:
            Refusal: `dictionary_mismatch`, vectors of another width.
        """
        del seed
        from radiograph.models import edit, generate

        width = self.speaker.site_width(self.at)
        if vectors.shape[1] != width:
            raise Refusal(
                "dictionary_mismatch",
                f"{self.name} reads vectors of another width",
                expected=f"{width} at {self.at}",
                got=str(vectors.shape[1]),
                fixable=True,
            )
        with edit(self.speaker, {self.at: self._writer(vectors)}):
            made = generate(self.speaker, [self.ids] * len(vectors), max_new_tokens=self.new_tokens)
        return [self._trimmed(one.text or "") for one in made]

    def _writer(self, vectors: Float[Tensor, "batch width"]):  # noqa: ANN202 - an `Edit` of models
        from radiograph.models import current_batch

        def write(value: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
            batch = current_batch()
            rows = vectors[list(batch.rows)].to(value.device, torch.float32)
            rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
            positions = batch.positions.to(value.device).expand(value.shape[:2])
            new = value
            for place in self.places:
                here = (positions == place).unsqueeze(-1)
                length = value.float().norm(dim=-1, keepdim=True) if self.norm is None else self.norm
                new = torch.where(here, (rows.unsqueeze(1) * length).to(value.dtype), new)
            return new

        return write

    def _trimmed(self, text: str) -> str:
        return text.strip()


def placed(model: LanguageModel, text: str, marker: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids of a prompt, and the tokens in which a marker stands.

    Raises:
        Refusal: `no_prompt`, the tokenizer does not keep the marker apart or cannot read the prompt.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise Refusal("no_prompt", "the model that speaks has no tokenizer")
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids = tuple(encoded["input_ids"])
    spans: Sequence[tuple[int, int]] = encoded["offset_mapping"]
    places = tuple(n for n, (first, last) in enumerate(spans) if last > first and text[first:last].strip() == marker)
    unknown = tokenizer.unk_token_id
    if not places or (unknown is not None and any(ids[n] == unknown for n in range(len(ids)) if n not in places)):
        raise Refusal(
            "no_prompt",
            "the model that speaks cannot read the prompt of this verbalizer",
            got=text[:80],
            fix="name a model that reads plain English with --verbalizer",
        )
    return ids, places
