"""Mean activation shifts on neutral text: as vectors, as tokens, and as a push on the reference.

1. δ at residual sites of middle and last depth, at positions 0 to 4 and the mean of all later ones: the mean over texts
   of x_candidate − x_reference; a text counts at a position that it has
2. readout: top tokens of unembed(norm(±δ)), beside random directions of equal norm
3. push: α·δ, measured on the first half of the texts, added to the reference at every position of its own kind; closing
   fraction 1 − KL(candidate ‖ pushed)/KL(candidate ‖ reference) on the other half, beside 8 random directions of equal
   norm; α of .5, 1, 2, the best on the first half
Refuses: models of other shapes; an architecture without a site map; fewer than four neutral texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Refusal, Site, derive
from radiograph.core.shapes import Float, Float64
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._divergence import kl
from radiograph.evidence.traces import Lens, LensPush, LensReadout, LensToken
from radiograph.models import LanguageModel, Pair, current_batch, log_probs, stream, token_text

OWN = 5
"""Positions with a shift of their own."""
RANDOM = 8
TOKENS = 20
ALPHAS = (0.5, 1.0, 2.0)
POSITIONS = (*map(str, range(OWN)), "rest")


@dataclass(frozen=True)
class Shifts:
    """Mean shifts, and the mean norm of the reference's activations, at every site and position."""

    sites: tuple[Site, ...]
    delta: Float64[np.ndarray, "site position width"]
    norm: Float64[np.ndarray, "site position"]


def lens_sites(model: LanguageModel) -> tuple[Site, ...]:
    """The residual stream after the middle block and after the last."""
    layers = sorted({(model.n_layers - 1) // 2, model.n_layers - 1})
    return tuple(Site.parse(f"resid_post.{layer}") for layer in layers)


def measure_shifts(pair: Pair, texts: Sequence[tuple[int, ...]]) -> Shifts:
    """Step 1.

    Raises:
        Refusal: other shapes, or too few texts.
    """
    pair.check_tokenizers()
    difference = pair.shape_difference()
    if difference is not None:
        raise Refusal("other_architecture", f"the models have other shapes: {difference}")
    if len(texts) < 4:
        raise Refusal("no_neutral_bank", f"{len(texts)} neutral texts, 4 needed", fix="pass --neutral FILE")
    sites = lens_sites(pair.reference)
    width = pair.reference.width
    sums, counts = np.zeros((len(sites), OWN + 1, width)), np.zeros(OWN + 1)
    norms = np.zeros((len(sites), OWN + 1))
    runs = zip(stream(pair.reference, texts, sites), stream(pair.candidate, texts, sites), strict=True)
    for (batch, before), (_, after) in runs:
        kinds = np.minimum(np.arange(batch.ids.shape[1]), OWN)
        real = batch.mask.cpu().numpy()
        member = np.stack([(kinds == kind) & real for kind in range(OWN + 1)])
        counts += member.sum((1, 2))
        for number, site in enumerate(sites):
            own = before[site].double().cpu().numpy()
            moved = after[site].double().cpu().numpy() - own
            sums[number] += np.einsum("kbp,bpw->kw", member, moved)
            norms[number] += np.einsum("kbp,bp->k", member, np.linalg.norm(own, axis=-1))
    n = np.maximum(counts, 1)
    return Shifts(sites, sums / n[:, None], norms / n)


def measure_lens(pair: Pair, banks: Banks, shifts: Shifts, seed: int) -> Lens:
    """Steps 2 and 3."""
    texts = [ids for ids in banks.neutral_tokens if len(ids) > 1]
    luck = np.random.default_rng(derive(seed, "lens"))
    random = luck.normal(size=(RANDOM, OWN + 1, pair.reference.width))
    random /= np.linalg.norm(random, axis=-1, keepdims=True)
    return Lens(
        sites=tuple(map(str, shifts.sites)),
        texts=len(texts),
        readouts=_readouts(pair.reference, shifts, random),
        pushes=_pushes(pair, texts, random),
    )


def _readouts(
    model: LanguageModel, shifts: Shifts, random: Float64[np.ndarray, "draw position width"]
) -> tuple[LensReadout, ...]:
    rows: list[LensReadout] = []
    for number, site in enumerate(shifts.sites):
        for position, name in enumerate(POSITIONS):
            delta = shifts.delta[number, position]
            norm = float(np.linalg.norm(delta))
            said = _unembed(model, np.stack([delta, -delta, *(norm * random[:, position])]))
            moved = norm > 0
            rows.append(
                LensReadout(
                    site=str(site),
                    position=name,
                    norm=norm,
                    relative=norm / max(float(shifts.norm[number, position]), 1e-12),
                    up=_tokens(model, said[0]) if moved else (),
                    down=_tokens(model, said[1]) if moved else (),
                    random=tuple(said[2:].max(-1).values.tolist()) if moved else (),
                )
            )
    return tuple(rows)


def _unembed(model: LanguageModel, rows: Float64[np.ndarray, "row width"]) -> Float[Tensor, "row vocabulary"]:
    head = model.model.get_output_embeddings()
    if head is None:
        raise Refusal("no_unembedding", "this model has no unembedding to read a shift through")
    norm = attrgetter(model.architecture.point(Site("final_norm")).module)(model.model)
    with torch.inference_mode(), model.session():
        values = norm(torch.as_tensor(rows, dtype=model.dtype, device=model.device))
        logits = head(values).float()
    return logits[:, : model.vocab_size - model.spare_rows].cpu()


def _tokens(model: LanguageModel, logits: Float[Tensor, " vocabulary"]) -> tuple[LensToken, ...]:
    top = logits.topk(min(TOKENS, len(logits)))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return tuple(LensToken(token=token_text(model.tokenizer, i), logit=value) for i, value in pairs)


def _pushes(
    pair: Pair, texts: Sequence[tuple[int, ...]], random: Float64[np.ndarray, "draw position width"]
) -> tuple[LensPush, ...]:
    fit, held = list(texts[0::2]), list(texts[1::2])
    own = measure_shifts(pair, fit)
    if not own.delta.any():
        return ()
    tried = [(site, alpha * own.delta[number]) for number, site in enumerate(own.sites) for alpha in ALPHAS]
    closed = np.reshape(_closed(pair, fit, tried), (len(own.sites), len(ALPHAS)))
    best = [ALPHAS[place] for place in closed.argmax(axis=1)]
    held_out: list[tuple[Site, Float64[np.ndarray, "position width"]]] = []
    for site, alpha, delta in zip(own.sites, best, own.delta, strict=True):
        sizes = np.linalg.norm(delta, axis=-1)[:, None]
        held_out += [(site, alpha * delta), *((site, alpha * sizes * draw) for draw in random)]
    shares = np.reshape(_closed(pair, held, held_out), (len(own.sites), 1 + len(random)))
    return tuple(
        LensPush(site=str(site), alpha=alpha, closed=row[0], random=tuple(row[1:]), n=len(held))
        for site, alpha, row in zip(own.sites, best, shares.tolist(), strict=True)
    )


def _closed(
    pair: Pair, texts: Sequence[tuple[int, ...]], added: Sequence[tuple[Site, Float64[np.ndarray, "position width"]]]
) -> list[float]:
    """Share of the divergence between candidate and reference that each push on the reference removes."""
    pushes = [{site: _push(pair.reference, rows)} for site, rows in added]
    runs = zip(
        log_probs(pair.candidate, texts),
        log_probs(pair.reference, texts),
        *(log_probs(pair.reference, texts, edits=push) for push in pushes),
        strict=True,
    )
    plain, pushed = 0.0, [0.0] * len(pushes)
    for (batch, candidate), (_, reference), *moved in runs:
        mask = batch.mask.cpu()
        plain += float(kl(candidate, reference).cpu()[mask].sum())
        for number, (_, values) in enumerate(moved):
            pushed[number] += float(kl(candidate, values).cpu()[mask].sum())
    return [1 - left / plain if plain > 0 else 0.0 for left in pushed]


def _push(model: LanguageModel, rows: Float64[np.ndarray, "position width"]):  # noqa: ANN202 - an Edit
    table = torch.as_tensor(rows, dtype=model.dtype, device=model.device)

    def add(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        return values + table[current_batch().positions.clamp(max=OWN)]

    return add
