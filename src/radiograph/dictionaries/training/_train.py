"""Train a dictionary from captured rows.

1. scale the input and start as `_initialise` says   2. per batch: loss and gradients of `_step`; the part of dD along D
removed; norm clipped; Adam; decoder rows renormalised   3. a feature silent for `patience` rows is dead and joins the
auxiliary loss   4. validation rows every 5 % of the run   5. the scale is folded into biases, so the dictionary reads
rows as they are   6. final quality on at most 65,536 validation rows.
Sources: Gao et al. 2024 (top-k, auxiliary loss), Bricken et al. 2023 (parallel gradient).
The same rows, config, machine and thread count give the same bytes. Fails, rather than return it, with a dictionary
that reconstructs worse than the mean; stops at the first non-finite row or loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from radiograph.core import ExitCode, Progress, RadiographError, Silent, UserError, derive
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Metadata, Training
from radiograph.dictionaries._quality import evaluate
from radiograph.dictionaries.activations import activation
from radiograph.dictionaries.training._config import TrainingConfig
from radiograph.dictionaries.training._initialise import MEDIAN_ROWS, Weights, initial_weights, scale_of
from radiograph.dictionaries.training._previous import Step, step
from radiograph.dictionaries.training._rows import Rows, endless
from radiograph.dictionaries.training._schedule import rate_factor

BETAS: Final = (0.9, 0.999)
EPSILON: Final = 6.25e-10
VALIDATIONS: Final = 20
VALIDATION_ROWS: Final = 65_536
EVALUATION_BATCH: Final = 4096


class WorseThanMean(RadiographError):
    """Training ended with a dictionary that explains nothing (exit 2). It is not returned."""

    exit_code = ExitCode.GATE_FAILED


@dataclass(frozen=True, slots=True)
class LogRow:
    """One validation during training."""

    step: int
    rows: int
    loss: float
    """Training R of the last batch."""
    auxiliary: float
    fvu: float
    """On validation rows, as `l0`."""
    l0: float
    dead: int
    """Features silent in training for longer than the patience."""
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A dictionary whose `metadata` says how it was made and how good it is, and the log of its training."""

    dictionary: Dictionary
    log: tuple[LogRow, ...]


def train(
    rows: Rows,
    site: str,
    config: TrainingConfig,
    *,
    metadata: Metadata | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train on the `train` split, measure on `validation`.

    `metadata` names the model, tokenizer and source; training summary and quality are filled in.

    Raises:
        UserError: unknown or constant site, empty split, k above F, a row that is not finite.
        WorseThanMean: FVU on validation rows is 1 or more.
    """
    _check(rows, site)
    run = _Run(rows, site, config)
    log: list[LogRow] = []
    marks = {round(config.steps * (i + 1) / VALIDATIONS) for i in range(VALIDATIONS)}
    with (progress or Silent()).task(f"train {site}", config.steps) as task:
        for number, batch in zip(
            range(1, config.steps + 1), endless(rows, site, config.batch, config.seed), strict=False
        ):
            run.advance(batch)
            task.advance()
            if number in marks:
                log.append(run.validate())
                task.note(f"FVU {log[-1].fvu:.3f} · L0 {log[-1].l0:.1f} · dead {log[-1].dead}")
    return Trained(run.finish(metadata or Metadata()), tuple(log))


def _check(rows: Rows, site: str) -> None:
    if site not in rows.widths:
        raise UserError(f"no rows of {site}", expected=", ".join(rows.widths), got=site, code="unknown_site")
    for split in ("train", "validation"):
        if not rows.count(split):
            raise UserError(f"no {split} rows of {site}", fix="give more prompt groups, or another validation share")


class _Run:
    """Weights, optimiser and counters of a run under way."""

    def __init__(self, rows: Rows, site: str, config: TrainingConfig) -> None:
        self.rows, self.site, self.config = rows, site, config
        self.step = 0
        width = rows.widths[site]
        size = config.features(width)
        self.width = width
        sample = self._sample()
        self.scale = scale_of(rows.variance(site), width, site)
        generator = torch.Generator().manual_seed(derive(config.seed, "dictionary", "decoder"))
        self.weights = initial_weights(sample * self.scale, size, config.k, generator)
        self.rate = config.rate(size)
        self.optimiser = torch.optim.Adam(list(self.weights), lr=self.rate, betas=BETAS, eps=EPSILON, fused=True)
        self.silence = torch.zeros(size, dtype=torch.long)
        self.last: Step | None = None
        self.gradient_norm = 0.0

    def advance(self, batch: Float[Tensor, "row width"]) -> None:
        """One step of the optimiser."""
        config = self.config
        self.last = step(
            batch.to(self.weights.bias) * self.scale,
            self.weights,
            k=config.k,
            variance=float(self.width),
            dead=(self.silence >= config.patience).nonzero().flatten(),
            auxiliary=config.auxiliary,
        )
        if not self.last.loss < float("inf"):
            self._blame(batch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * rate_factor(self.step, config.steps)
        self._update(self.last.gradients)
        self.silence = torch.where(self.last.fired, 0, self.silence + len(batch))
        self.step += 1

    def validate(self) -> LogRow:
        """Quality on validation rows so far."""
        assert self.last is not None
        quality = evaluate(self._dictionary(Metadata()), self._validation())
        return LogRow(
            step=self.step,
            rows=self.step * self.config.batch,
            loss=self.last.loss,
            auxiliary=self.last.auxiliary,
            fvu=quality.fvu,
            l0=quality.l0,
            dead=int((self.silence >= self.config.patience).sum()),
            learning_rate=self.optimiser.param_groups[0]["lr"],
            gradient_norm=self.gradient_norm,
        )

    def finish(self, metadata: Metadata) -> Dictionary:
        """The dictionary of unscaled rows, with its quality."""
        quality = evaluate(self._dictionary(Metadata()), self._validation())
        if not quality.fvu < 1:
            raise WorseThanMean(
                f"the dictionary of {self.site} reconstructs worse than the mean: FVU {quality.fvu:.3f} on "
                f"{quality.n_rows:,} validation rows; nothing is saved"
            )
        config = self.config
        training = Training(
            preset=config.preset,
            activation=config.activation,
            seed=config.seed,
            rows=self.step * config.batch,
            steps=self.step,
            batch=config.batch,
            learning_rate=self.rate,
            scales=(self.scale,),
        )
        known = {"training": training, "quality": quality, "check": "native"}
        return self._dictionary(metadata.model_copy(update=known))

    def _update(self, gradients: Weights) -> None:
        decoder = self.weights.decoder
        along = (gradients.decoder * decoder).sum(1, keepdim=True)
        gradients.decoder.addcmul_(along, decoder, value=-1)
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.gradient_norm = float(torch.nn.utils.clip_grad_norm_(list(self.weights), self.config.clip))
        self.optimiser.step()
        decoder.div_(decoder.norm(dim=1, keepdim=True))

    def _dictionary(self, metadata: Metadata) -> Dictionary:
        """Scale folded: x scaled by a gives codes scaled by a, so c, b and g are divided by it."""
        bias = self.weights.bias / self.scale
        return Dictionary(
            encoder=self.weights.encoder.clone(),
            decoder=self.weights.decoder.clone(),
            encoder_bias=self.weights.encoder_bias / self.scale,
            input_bias=bias,
            decoder_bias=bias.clone(),
            activation=activation(self.config.activation, {"k": self.config.k}),
            sites=(self.site,),
            metadata=metadata,
        )

    def _sample(self) -> Float[Tensor, "row width"]:
        seed = derive(self.config.seed, "dictionary", "median")
        found: list[Tensor] = []
        for batch in self.rows.batches(self.site, split="train", batch=EVALUATION_BATCH, seed=seed):
            found.append(batch.float())
            if sum(map(len, found)) >= MEDIAN_ROWS:
                break
        sample = torch.cat(found)[:MEDIAN_ROWS]
        if not bool(sample.isfinite().all()):
            self._blame(sample)
        return sample

    def _validation(self) -> list[Tensor]:
        found: list[Tensor] = []
        left = VALIDATION_ROWS
        for batch in self.rows.batches(self.site, split="validation", batch=EVALUATION_BATCH):
            found.append(batch[:left])
            left -= len(found[-1])
            if left <= 0:
                break
        return found

    def _blame(self, batch: Float[Tensor, "row width"]) -> None:
        odd = (~batch.isfinite()).nonzero()
        if len(odd):
            row, column = odd[0].tolist()
            raise UserError(
                f"a row of {self.site} is not finite",
                where=f"step {self.step}, row {row} of the batch, column {column}",
                got=str(float(batch[row, column])),
                code="not_finite",
            )
        raise RadiographError(f"the loss at step {self.step} is not finite although the rows are")
