"""What the features of both sides do to the next token, over the tokens that both vocabularies hold.

Write directions go through the gain of the final norm and the unembedding: read from the weights, nothing is run.
Tokens are the same where their texts are. Of more than 4,096 shared ones the first are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Context, Refusal, Site, UserError
from radiograph.core.shapes import Float64
from radiograph.methods._match.sides import Side

if TYPE_CHECKING:
    from radiograph.models import LanguageModel
    from radiograph.numerics.matching._components import Compare

TOKENS = 4096
RESIDUAL = frozenset({"embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"})


def logit_effects(sides: tuple[Side, Side], ctx: Context) -> Compare:
    """How alike two features move logits; of features in the numbering of their sides.

    Raises:
        Refusal: `no_directions`, `no_shared_tokens`, or the model at hand is not the one of the records.
    """
    from radiograph.models import token_text
    from radiograph.numerics.matching import logit_correlation

    models: list[LanguageModel] = []
    for which, side in zip(("left", "right"), sides, strict=True):
        if not side.writes:
            raise Refusal("no_directions", f"the {which} side stores no write directions")
        model = ctx.model(side.record.model, f"{which}_model")
        if side.record.model_sha256 not in (None, model.identity.tensors_sha256, model.identity.files_sha256):
            raise Refusal("dictionary_mismatch", f"{side.record.model} is no longer the model of the {which} records")
        models.append(model)
    texts = [
        [token_text(model.tokenizer, number) for number in range(model.vocab_size - model.spare_rows)]
        for model in models
    ]
    place = {text: number for number, text in reversed(list(enumerate(texts[1])))}
    first = {text: number for number, text in reversed(list(enumerate(texts[0])))}
    shared = [(own, place[text]) for text, own in sorted(first.items(), key=lambda item: item[1]) if text in place]
    columns = np.array(shared[:TOKENS], dtype=np.int64).reshape(-1, 2)
    names = [texts[0][own] for own in columns[:, 0].tolist()]
    tables = [_effects(model, side)[:, own] for model, side, own in zip(models, sides, columns.T, strict=True)]
    compare = logit_correlation(tables[0], tables[1], names, names)
    if compare is None:
        raise Refusal("no_shared_tokens", f"the vocabularies share {len(names)} tokens, 100 are needed")
    return compare


def _effects(model: LanguageModel, side: Side) -> Float64[np.ndarray, "feature token"]:
    """Logit effects of every feature whose way to the logits is known; 0 for the others."""
    from radiograph.models.tail import Tail, write_vectors

    tail = Tail.of(model)
    out = np.zeros((len(side.ids), len(tail.unembed) - model.spare_rows))
    for part in side.writes:
        address = None if part.site is None else Site.parse(part.site)
        try:
            into = None if address is None or address.kind in RESIDUAL else write_vectors(model, address)
        except (Refusal, UserError):
            continue
        rows = part.rows.astype(np.float64)
        out[part.features] = tail.direct(rows if into is None else rows @ into)[:, : out.shape[1]]
    return out
