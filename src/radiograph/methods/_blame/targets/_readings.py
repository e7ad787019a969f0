"""Targets inside the network: what a probe or a feature reads of texts, `probe:FILE` and `feature:SOURCE#N`.

f of a text is the probe's score, or the feature's value, as the mean over the tokens that are read: those that
`probe defection` reads of it (a probe of whole texts reads its pooled row). Of a dictionary's feature the value is its
pre-activation: a code has no gradient where the feature is silent. No threshold enters, so a probe needs no band to be
asked about; it has to be of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Refusal, Site, UserError
from radiograph.core.shapes import Float
from radiograph.methods._blame.targets._completions import Learned, Targets
from radiograph.probing import Probe, check_width

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.core.codec import Codec
    from radiograph.evidence.probes.probe import ProbeNormalise, ProbePool
    from radiograph.models import LanguageModel, Pair

SHORTEST = 1e-12
"""A row is taken to be no shorter: one of zeros scores 0."""
FORMS = "probe:FILE, feature:SITE[N], or feature:SOURCE#N with a source as --features takes them"


@dataclass(frozen=True, eq=False)
class OfProbe:
    """The score of a probe on rows of its site."""

    w: Float[Tensor, " width"]
    normalise: ProbeNormalise
    pool: ProbePool | None

    def __call__(
        self, values: Float[Tensor, "row token width"], read: Float[Tensor, "row token"]
    ) -> Float[Tensor, " row"]:
        """Mean over the tokens that are read, of the pooled row, or the largest."""
        return self.along(values, read, self.w[:, None])[:, 0]

    def along(
        self,
        values: Float[Tensor, "row token width"],
        read: Float[Tensor, "row token"],
        directions: Float[Tensor, "width direction"],
    ) -> Float[Tensor, "row direction"]:
        """The same along other directions than the probe's."""
        w = directions.to(values)
        if self.pool == "mean":
            pooled = (values * read[..., None]).sum(1) / read.sum(1, keepdim=True)
            return pooled @ w * self._scale(pooled)
        scores = values @ w * self._scale(values)
        if self.pool == "max":
            return scores.masked_fill(read[..., None] == 0, float("-inf")).amax(1)
        return scores.masked_fill(read[..., None] == 0, 0.0).sum(1) / read.sum(1, keepdim=True)

    def rows(
        self, values: Float[Tensor, "row token width"], read: Float[Tensor, "row token"]
    ) -> Float[Tensor, "own width"]:
        """What is multiplied with the direction: tokens that are read, or pooled rows, as they are normalised."""
        own = (values * read[..., None]).sum(1) / read.sum(1, keepdim=True) if self.pool == "mean" else values[read > 0]
        return own * self._scale(own)

    def _scale(self, values: Float[Tensor, "*row width"]) -> Float[Tensor, "*row 1"]:
        if self.normalise == "none":
            return values.new_ones((*values.shape[:-1], 1))
        return values.shape[-1] ** 0.5 / values.norm(dim=-1, keepdim=True).clamp(min=SHORTEST)


@dataclass(frozen=True, eq=False)
class OfFeature:
    """The value of one feature on rows of its site."""

    codec: Codec
    number: int

    def __call__(
        self, values: Float[Tensor, "row token width"], read: Float[Tensor, "row token"]
    ) -> Float[Tensor, " row"]:
        """Mean over the tokens that are read."""
        from radiograph.dictionaries import Dictionary
        from radiograph.numerics.sparse import dense

        wanted = read > 0
        rows = values[wanted]
        table = (
            self.codec.preactivations(rows) if isinstance(self.codec, Dictionary) else dense(self.codec.encode(rows))
        )
        found = table[:, self.number].to(values.dtype)
        return read.new_zeros(read.shape).masked_scatter(wanted, found).sum(1) / read.sum(1)


@dataclass(frozen=True, eq=False)
class Reading:
    """What is read where, and the texts in words."""

    site: Site
    value: OfProbe | OfFeature
    name: str
    shown: tuple[str, ...]

    def values(self, model: LanguageModel, own: Sequence[Learned]) -> np.ndarray:
        """The f of every text."""
        from radiograph.harvest.gradients import tokens_read
        from radiograph.models import stream

        out = np.empty(len(own))
        for batch, found in stream(model, [ids for ids, _ in own], [self.site]):
            read = tokens_read(batch, own).to(model.device)
            out[list(batch.rows)] = self.value(found[self.site].float(), read).double().cpu().numpy()
        return out


def read_inside(ctx: Context, pair: Pair, target: str, sources: Sequence[str]) -> tuple[Targets, tuple[str, ...]]:
    """Targets of `probe:FILE` or `feature:SOURCE`, and remarks.

    Raises:
        UserError: no texts, fewer than two, no such probe or feature. Refusal: a probe of another model.
    """
    if not sources:
        raise UserError(
            f"{target.partition(':')[0]}: reads texts",
            where="--texts",
            expected="FILE.jsonl, world:DOMAIN#N",
            code="no_texts",
        )
    kind, _, where = target.partition(":")
    stamps: tuple[str, ...] = ()
    if kind == "probe":
        site, probe, value, stamps = reference_probe(ctx, pair.reference, where)
        name, last = f"{probe.name} at {site}", probe.pool == "last"
    else:
        site, value, name = _feature(ctx, pair, where)
        last = False
    own, shown, words, given, lost = _texts(ctx, pair.candidate, sources, last=last)
    stamps += (f"texts_cut: {lost} texts are longer than the context",) if lost else ()
    reading = Reading(site, value, name, shown)
    made = Targets(
        "probe" if kind == "probe" else "feature", name, own, (None,) * len(own), words, given, reading=reading
    )
    return made, stamps


def reference_probe(ctx: Context, reference: LanguageModel, file: str) -> tuple[Site, Probe, OfProbe, tuple[str, ...]]:
    """The probe of a file: where it reads, what it is, its value, and a remark where it is not calibrated.

    Raises:
        UserError: no such file. Refusal: a placeholder, or a probe of another model than the reference.
    """
    import torch

    from radiograph.methods._probe.chosen import given_probe

    probe = given_probe(file, ctx)
    card = probe.card
    assert card is not None, "a file of ours has one"
    identity = reference.identity
    if (card.model.sha256, card.model.tokenizer_sha256) != (identity.tensors_sha256, identity.tokenizer_sha256):
        raise Refusal(
            "other_model",
            f"{probe.name} was built on {card.model.ref}, which is not the reference",
            expected=str(card.model.sha256),
            got=str(identity.tensors_sha256),
            fix="build a probe of the reference: radiograph probe build",
        )
    site = Site.parse(probe.site)
    check_width(probe, reference.site_width(site), str(site), 0)
    value = OfProbe(torch.from_numpy(np.array(probe.w, dtype=np.float32)), probe.normalise, probe.pool)
    stamps = () if probe.status == "calibrated" else (f"uncalibrated_probe: {probe.name} may not separate its classes",)
    return site, probe, value, stamps


def _feature(ctx: Context, pair: Pair, where: str) -> tuple[Site, OfFeature, str]:
    head = where.partition("[")[0]
    source = f"units:{where}" if where.endswith("]") and ":" not in head else where
    given = ctx.features(source, "target")
    if given.kind != "live":
        raise UserError(
            f"{where!r} holds no feature that a model can be run through",
            where="--target",
            expected=FORMS,
            code="bad_features",
        )
    found: list[Any] = [own for own in given.open(pair.reference) if len(own)]
    count = sum(len(own) for own in found)
    if count != 1:
        raise UserError(
            "a target is one feature", where="--target", expected=FORMS, got=f"{count} features", code="bad_features"
        )
    own = found[0]
    if len(own.codec.sites) != 1:
        raise UserError(
            "a feature of several sites cannot be asked about",
            where="--target",
            got=", ".join(own.codec.sites),
            code="bad_features",
        )
    return Site.parse(own.codec.sites[0]), OfFeature(own.codec, int(own.numbers[0])), own.ids[0]


def _texts(
    ctx: Context, model: LanguageModel, sources: Sequence[str], *, last: bool
) -> tuple[tuple[Learned, ...], tuple[str, ...], tuple[str, ...], int, int]:
    """Different texts as tokens with a 1 where they are read; in words; their words; how many were given, and cut."""
    from radiograph.methods._probe.tokens import cut, of_texts

    texts, _, lost = cut(of_texts(model, ctx.texts(sources, "texts")), model.context_length)
    found: dict[Learned, str] = {}
    for text in texts:
        read = np.zeros(len(text.ids), dtype=bool)
        read[text.final if last else text.marked] = True
        found.setdefault((text.ids, tuple(read.astype(float).tolist())), text.shown or "")
    if len(found) < 2:
        raise UserError(
            "one text does not tell whether what is read rose",
            where="--texts",
            expected="2 different texts or more",
            got=str(len(found)),
            code="too_few_texts",
        )
    own = tuple(sorted(found))
    shown = tuple(" ".join(found[one].split()) for one in own)
    return own, shown, tuple(word for text in shown for word in text.split()), len(texts), lost
