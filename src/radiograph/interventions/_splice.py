"""What it costs a model to run on a codec's reconstruction instead of its own activations.

1. a clean forward of every model that the codec reads: its loss, its log-probabilities and the codec's sources
2. ŷ = reconstruct(those rows) at the kept positions of one target of the codec, in the model that the target belongs
   to; all other positions untouched. An autoencoder writes where it read, a transcoder its target, a crosscoder one
   source at a time
3. the same with zeros there, with the target's mean over the kept positions, and, as a check of the splice itself,
   with ŷ + (y − ŷ), which must cost nothing
4. ΔCE = spliced − clean; recovered = (ablated − spliced) / (ablated − clean), for zero *and* mean ablation;
   KL(clean ‖ spliced), and the share of it that is recovered against zero ablation
Units: nats per predicted token, over every token but the first of each row; sums in float64. Hooks are gone afterwards.
Refuses recovered shares where an ablation costs less than 0.05 nats: a ratio of two noises is no measurement.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Refusal, Site, Source, UserError
from radiograph.core.codec import Codec
from radiograph.core.shapes import Bool, Float, Float64, Int
from radiograph.core.sites import REFERENCE
from radiograph.models import Batch, Edit, LanguageModel, Tokens, capture, edit, forward, logits, reading, stream
from radiograph.numerics.moments import Moments
from radiograph.numerics.reconstruction import recovered

BATCH_TOKENS = 2048
LOGITS = 2**26
"""Log-probabilities held at once: 256 MiB in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class SpliceLosses:
    """Sums over the predicted tokens of each row, in the caller's order; the properties are means over all of them."""

    tokens: Int[np.ndarray, " row"]
    """Predicted tokens."""
    n_spliced: int
    """Positions replaced."""
    nats: Mapping[str, Float64[np.ndarray, " row"]]
    """Cross-entropy: `clean`, `spliced`, `exact` (ŷ + (y − ŷ)), `zero`, `mean`."""
    divergence: Mapping[str, Float64[np.ndarray, " row"]]
    """KL(clean ‖ changed): `spliced`, `zero`, `mean`."""

    @property
    def n_tokens(self) -> int:
        """Predicted tokens."""
        return int(self.tokens.sum())

    def ce(self, how: str) -> float:
        """Mean cross-entropy of one kind of run."""
        return float(self.nats[how].sum()) / self.n_tokens

    def kl(self, how: str = "spliced") -> float:
        """Mean divergence of one kind of run from the clean one."""
        return float(self.divergence[how].sum()) / self.n_tokens

    @property
    def delta_ce(self) -> float:
        """Spliced minus clean; 0 for a perfect codec."""
        return self.ce("spliced") - self.ce("clean")

    @property
    def recovered_zero(self) -> float | Refusal:
        """1: as good as clean. 0: as bad as zeros. A Refusal where zeros cost too little."""
        return recovered(self.ce("clean"), self.ce("spliced"), self.ce("zero"))

    @property
    def recovered_mean(self) -> float | Refusal:
        """1: as good as clean. 0: as bad as the mean. A Refusal where the mean costs too little."""
        return recovered(self.ce("clean"), self.ce("spliced"), self.ce("mean"))

    @property
    def recovered_kl(self) -> float | Refusal:
        """1 − KL spliced / KL with zeros. A Refusal where zeros change too little."""
        return recovered(0.0, self.kl(), self.kl("zero"))


def splice_losses(
    model: LanguageModel,
    codec: Codec,
    tokens: Tokens,
    kept: Sequence[Sequence[bool]] | None = None,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> SpliceLosses:
    """Losses with a codec of one model and one target spliced in. See `splices`."""
    return splices({REFERENCE: model}, {"codec": codec}, tokens, kept, batch_tokens=batch_tokens)["codec"]


def splices(
    models: Mapping[str, LanguageModel],
    codecs: Mapping[str, Codec],
    tokens: Tokens,
    kept: Sequence[Sequence[bool]] | None = None,
    *,
    target: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> dict[str, SpliceLosses]:
    """Losses of `tokens` with each codec spliced in at kept positions (all of them by default) of one target.

    Codecs by name, of the same sources and targets; models by role (`reference`, `candidate` …). The clean, zero and
    mean runs are made once for all codecs.

    Raises:
        UserError: several targets and none named; a source that no model has, or of another width; `kept` does not fit
            `tokens`; no token is predicted or no position kept.
    """
    plan = _plan(models, codecs, target)
    masks = _masks(tokens, kept)
    n_spliced = sum(int(mask.sum()) for mask in masks)
    if not n_spliced or not sum(len(row) - 1 for row in tokens):
        raise UserError("nothing to splice", got=f"{n_spliced} kept positions")
    mean = _mean(plan.model, plan.site, tokens, masks, batch_tokens)
    runs = ["clean", "zero", "mean", *(f"{how}:{name}" for name in codecs for how in ("spliced", "exact"))]
    nats = {run: np.zeros(len(tokens)) for run in runs}
    divergence = {run: np.zeros(len(tokens)) for run in runs}
    with closing(_clean(plan, tokens, masks, batch_tokens)) as batches:
        for batch, clean, chosen, rows in batches:
            _tally(batch, clean, clean, nats["clean"], divergence["clean"])
            for run, change in _changes(plan, codecs, rows, mean).items():
                with edit(plan.model, {plan.site: _writer(chosen, change)}):
                    changed = forward(plan.model, batch).float().log_softmax(-1)
                _tally(batch, clean, changed, nats[run], divergence[run])
    predicted = np.array([len(row) - 1 for row in tokens])
    return {name: _losses(name, predicted, n_spliced, nats, divergence) for name in codecs}


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Who reads what, and where the reconstruction goes."""

    models: Mapping[str, LanguageModel]
    sources: tuple[Source, ...]
    target: Source
    columns: slice
    """Of the target among all that a codec writes."""

    @property
    def model(self) -> LanguageModel:
        return self.models[self.target.role]

    @property
    def site(self) -> Site:
        return self.target.site


def _plan(models: Mapping[str, LanguageModel], codecs: Mapping[str, Codec], target: str | None) -> _Plan:
    codec = next(iter(codecs.values()))
    if any((c.sites, c.targets) != (codec.sites, codec.targets) for c in codecs.values()):
        raise UserError("codecs that are spliced together read and write the same sources")
    sources, targets = ([_source(models, s) for s in given] for given in (codec.sites, codec.targets))
    if target is None and len(targets) > 1:
        raise UserError("one target is spliced at a time", expected="one of " + ", ".join(codec.targets))
    wanted = targets[0] if target is None else Source.parse(target)
    if wanted not in targets:
        raise UserError(f"the codec does not write {target}", expected=", ".join(codec.targets))
    widths = [models[s.role].site_width(s.site) for s in targets]
    start = sum(widths[: targets.index(wanted)])
    plan = _Plan(models, tuple(sources), wanted, slice(start, start + widths[targets.index(wanted)]))
    read = sum(models[s.role].site_width(s.site) for s in sources)
    if (read, sum(widths)) != (codec.width, codec.target_width):
        raise UserError(
            f"the codec does not fit {', '.join(codec.sites)} of {plan.model.ref}",
            expected=f"width {read}",
            got=f"width {codec.width}",
            code="dictionary_mismatch",
        )
    return plan


def _source(models: Mapping[str, LanguageModel], address: str) -> Source:
    source = Source.parse(address)
    if source.role not in models:
        raise UserError(f"no model for {source}", expected="one of " + ", ".join(models), code="unknown_source")
    (site,) = models[source.role].sites(str(source.site))
    return Source(site, source.role)


def _clean(
    plan: _Plan, tokens: Tokens, masks: Sequence[Tensor], batch_tokens: int
) -> Generator[tuple[Batch, Tensor, Bool[Tensor, "batch position"], dict[Source, Tensor]]]:
    """Per batch: clean log-probabilities, the kept positions, and the rows of every source there."""
    limit = max(1, min(batch_tokens, LOGITS // plan.model.vocab_size))
    wanted = {*plan.sources, plan.target}
    own = [source for source in wanted if source.role == plan.target.role]
    with reading(plan.model, [source.site for source in own]) as found:
        for batch, values in logits(plan.model, tokens, batch_tokens=limit):
            held = {source: found[source.site] for source in own}
            for role in {source.role for source in wanted} - {plan.target.role}:
                others = [source for source in wanted if source.role == role]
                there = capture(plan.models[role], batch, [source.site for source in others])
                held |= {source: there[source.site] for source in others}
            chosen = _chosen(batch, masks)
            yield (
                batch,
                values.float().log_softmax(-1),
                chosen,
                {source: found_rows[chosen.to(found_rows.device)] for source, found_rows in held.items()},
            )


def _changes(
    plan: _Plan, codecs: Mapping[str, Codec], rows: Mapping[Source, Tensor], mean: Float[Tensor, " width"]
) -> dict[str, Float[Tensor, "row width"]]:
    """What takes the place of the target's rows in each kind of run."""
    own = rows[plan.target].float()
    read = torch.cat([rows[source].to(own) for source in plan.sources], 1)
    changes = {"zero": torch.zeros_like(own), "mean": mean.to(own).expand_as(own)}
    for name, codec in codecs.items():
        rebuilt = codec.reconstruct(read)[:, plan.columns].to(own)
        changes |= {f"spliced:{name}": rebuilt, f"exact:{name}": rebuilt + (own - rebuilt)}
    return changes


def _writer(chosen: Bool[Tensor, "batch position"], rows: Float[Tensor, "row width"]) -> Edit:
    """An edit that puts rows in the place of the chosen positions, in the type of what stood there."""

    def write(values: Float[Tensor, "batch position width"]) -> Float[Tensor, "batch position width"]:
        out = values.clone()
        out[chosen.to(values.device)] = rows.to(values)
        return out

    return write


def _chosen(batch: Batch, masks: Sequence[Tensor]) -> Bool[Tensor, "batch position"]:
    chosen = torch.zeros(batch.ids.shape, dtype=torch.bool)
    for line, row in enumerate(batch.rows):
        chosen[line, : len(masks[row])] = masks[row]
    return chosen


def _tally(
    batch: Batch,
    clean: Float[Tensor, "batch position vocabulary"],
    changed: Float[Tensor, "batch position vocabulary"],
    nats: Float64[np.ndarray, " row"],
    divergence: Float64[np.ndarray, " row"],
) -> None:
    """Add up one batch: a row at a time, so that nothing as large as the logits is made again."""
    lengths = batch.mask.sum(1).tolist()
    for line, (row, length) in enumerate(zip(batch.rows, lengths, strict=True)):
        ours, theirs = changed[line, : length - 1], clean[line, : length - 1]
        following = batch.ids[line, 1:length, None].to(ours.device)
        nats[row] = -float(ours.gather(1, following).double().sum())
        if changed is not clean:
            divergence[row] = float((theirs.exp() * (theirs - ours)).sum(-1).double().sum())


def _losses(
    name: str,
    predicted: Int[np.ndarray, " row"],
    n_spliced: int,
    nats: Mapping[str, Float64[np.ndarray, " row"]],
    divergence: Mapping[str, Float64[np.ndarray, " row"]],
) -> SpliceLosses:
    names = {"zero": "zero", "mean": "mean", "spliced": f"spliced:{name}"}
    every = {"clean": "clean", "exact": f"exact:{name}", **names}
    return SpliceLosses(
        tokens=predicted,
        n_spliced=n_spliced,
        nats={how: nats[run] for how, run in every.items()},
        divergence={how: divergence[run] for how, run in names.items()},
    )


def _mean(
    model: LanguageModel, site: Site, tokens: Tokens, masks: Sequence[Tensor], batch_tokens: int
) -> Float[Tensor, " width"]:
    moments = Moments(model.site_width(site))
    for batch, found in stream(model, tokens, [site], batch_tokens=batch_tokens):
        values = found[site].float().cpu()
        moments.add(values[_chosen(batch, masks)].numpy())
    return torch.from_numpy(moments.mean)


def _masks(tokens: Tokens, kept: Sequence[Sequence[bool]] | None) -> list[Tensor]:
    if kept is None:
        return [torch.ones(len(row), dtype=torch.bool) for row in tokens]
    lengths = [len(row) for row in tokens]
    if [len(row) for row in kept] != lengths:
        raise UserError("kept positions do not fit the tokens", expected="one mark per token")
    return [torch.tensor(row, dtype=torch.bool) for row in kept]
