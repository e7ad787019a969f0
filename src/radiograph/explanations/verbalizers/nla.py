"""Natural language autoencoders (Fraser-Taliente et al. 2026): a pair of models, vector to text and text to vector.

1. both folders hold `nla_meta.yaml`: role (`av`/`actor`, `ar`/`critic`), width, layer, injection token with its
   neighbours, prompt templates, scales
2. verbalizer: the prompt is its template in one user's turn; at the injection token the embedding is replaced by the
   vector, scaled to `injection_scale`. Token and neighbours have to be those of the side-car. The text is what stands
   between <explanation> tags
3. reconstructor: the template around the text, which is cut to the context; what the last block gives at the last
   token, before any final norm, times `value_head.safetensors`
Lengths of vectors mean nothing to the pair: a round trip compares directions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from radiograph.core import FormatError, Refusal, Site
from radiograph.core.shapes import Float
from radiograph.explanations._protocol import Reconstructor, Verbalizer
from radiograph.explanations.verbalizers._speech import Speech, Voice
from radiograph.store import load_yaml

if TYPE_CHECKING:
    from radiograph.models import LanguageModel

SIDECAR = "nla_meta.yaml"
HEAD = "value_head.safetensors"
_TAGS = re.compile(r"<explanation>\s*(.*?)\s*(?:</explanation>|\Z)", re.DOTALL)
_NEW = 200
_ROLES = {"av": ("av", "actor"), "ar": ("ar", "critic")}


def lacks(voice: Voice) -> str | None:
    """The model that speaks."""
    return (
        None if voice.speaker is not None else "--verbalizer FOLDER, the verbalizer of the pair with its nla_meta.yaml"
    )


def make(voice: Voice) -> tuple[Verbalizer, Reconstructor | None]:
    """Both, where both were given."""
    assert voice.speaker is not None
    meta = sidecar(voice.speaker_folder, "av")
    ids, place = _prompt(voice.speaker, meta)
    layer = meta.get("extraction_layer_index")
    if (
        isinstance(layer, int)
        and voice.site.layer is not None
        and layer not in (voice.site.layer, voice.site.layer + 1)
    ):
        raise Refusal(
            "dictionary_mismatch",
            "this autoencoder reads another layer",
            expected=f"layer {layer}",
            got=str(voice.site),
            fixable=True,
        )
    speech = _Tagged(
        "nla",
        voice.site,
        voice.model.identity.tensors_sha256,
        "unit_norm",
        voice.speaker,
        Site("embed"),
        ids,
        (place,),
        _NEW,
        float(_field(meta, "extraction", "injection_scale")),
    )
    if voice.reconstructor is None:
        return speech, None
    return speech, _rebuilder(voice.reconstructor, voice.reconstructor_folder)


@dataclass(frozen=True, eq=False)
class _Tagged(Speech):
    def _trimmed(self, text: str) -> str:
        match = _TAGS.search(text)
        return (match[1] if match else text).strip()


@dataclass(frozen=True, eq=False)
class Rebuilder:
    """Implements `Reconstructor`."""

    model: LanguageModel
    template: str
    head: Float[Tensor, "width width"]

    def reconstruct(self, texts: list[str]) -> Float[Tensor, "batch width"]:
        """A vector a text."""
        from radiograph.models import stream

        rows = [self._tokens(text) for text in texts]
        site = Site("resid_post", self.model.architecture.n_layers - 1)
        found = torch.zeros(len(texts), self.head.shape[0])
        for batch, values in stream(self.model, rows, [site]):
            for index, row in enumerate(batch.rows):
                found[row] = values[site][index, len(rows[row]) - 1].float().cpu() @ self.head.T
        return found

    def _tokens(self, text: str) -> list[int]:
        """The template with as much of the text as the context holds."""
        tokenizer = self.model.tokenizer
        assert tokenizer is not None, "checked when it was made"
        while True:
            ids = list(tokenizer(self.template.format(explanation=text))["input_ids"])
            if len(ids) <= self.model.context_length or not text:
                return ids
            text = text[: max(0, len(text) * self.model.context_length // len(ids) - 1)]


def sidecar(folder: Path | None, role: str) -> dict[str, Any]:
    """The side-car of a folder.

    Raises:
        FormatError: none there, of another role, or a field that is missing.
    """
    path = None if folder is None else folder / SIDECAR
    if path is None or not path.is_file():
        raise FormatError("not a model of a natural language autoencoder", expected=SIDECAR, got=str(folder))
    meta, _ = load_yaml(path)
    if not isinstance(meta, dict) or meta.get("kind") != "nla_model" or meta.get("role") not in _ROLES[role]:
        got = meta.get("role") if isinstance(meta, dict) else None
        raise FormatError(
            f"{SIDECAR} is of another kind", expected=f"kind nla_model, role {role}", got=str(got), where=SIDECAR
        )
    return meta


def _prompt(speaker: LanguageModel, meta: dict[str, Any]) -> tuple[tuple[int, ...], int]:
    """Token ids of the prompt, and the place of the injection token, as the side-car says they are."""
    tokenizer = speaker.tokenizer
    if tokenizer is None or getattr(tokenizer, "chat_template", None) is None:
        raise FormatError("the verbalizer has no chat template", expected="a tokenizer with one")
    mark, token = str(_field(meta, "tokens", "injection_char")), int(_field(meta, "tokens", "injection_token_id"))
    around = [int(_field(meta, "tokens", f"injection_{side}_neighbor_id")) for side in ("left", "right")]
    if list(tokenizer.encode(mark, add_special_tokens=False)) != [token]:
        raise FormatError("the tokenizer is not that of the side-car", expected=f"{mark!r} is token {token}")
    template = meta.get("prompt_templates", {}).get("av") or _field(meta, "prompt_templates", "actor")
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": str(template).format(injection_char=mark)}],
        tokenize=False,
        add_generation_prompt=True,
    )
    ids = tuple(tokenizer.encode(str(text), add_special_tokens=False))
    places = [n for n, own in enumerate(ids) if own == token]
    fits = len(places) == 1 and 0 < places[0] < len(ids) - 1
    if not fits or [ids[places[0] - 1], ids[places[0] + 1]] != around:
        raise FormatError(
            "the prompt is not that of the side-car",
            expected=f"one injection token between {around[0]} and {around[1]}",
            got=f"{len(places)} of them",
            where=SIDECAR,
        )
    return ids, places[0]


def _rebuilder(model: LanguageModel, folder: Path | None) -> Rebuilder:
    from safetensors.torch import load_file

    meta = sidecar(folder, "ar")
    assert folder is not None, "a side-car was read in it"
    path = folder / HEAD
    tensors = load_file(path) if path.is_file() else {}
    if set(tensors) != {"weight"} or tuple(tensors["weight"].shape) != (model.width, model.width):
        raise FormatError(f"{HEAD} is no reconstruction head", expected=f"weight [{model.width}, {model.width}]")
    if model.tokenizer is None:
        raise FormatError("the reconstructor has no tokenizer")
    template = meta.get("prompt_templates", {}).get("ar") or _field(meta, "prompt_templates", "critic")
    return Rebuilder(model, str(template), tensors["weight"].float())


def _field(meta: dict[str, Any], part: str, name: str) -> Any:
    value = meta.get(part, {}).get(name) if isinstance(meta.get(part), dict) else None
    if value is None:
        raise FormatError(f"{SIDECAR} lacks {part}.{name}", where=SIDECAR)
    return value
