"""The state of a run, and one step of it.

1. start as `_initialise` says   2. loss and gradients of `_step`; mean over ranks   3. clip, Adam, decoder rows of
autoencoders and transcoders back to length 1   4. a feature that fires on no rank for `patience` rows is dead; of relu
and gated dictionaries dead features may start again from rows with a large error (Bricken et al. 2023)   5. running
averages: of the weights where `ema` asks for it, of the bound that `batchtopk` selected by
Everything that decides a later step is in `state`; nothing depends on a clock or on a global generator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import RadiographError, UserError, derive
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Metadata
from radiograph.dictionaries.training._config import TrainingConfig
from radiograph.dictionaries.training._initialise import MEDIAN_ROWS, initial_weights
from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._optimiser import Adam
from radiograph.dictionaries.training._rows import Batch, Layout
from radiograph.dictionaries.training._schedule import annealed, ramp, rate_factor, resampled
from radiograph.dictionaries.training._step import Buffers, Step, step
from radiograph.dictionaries.training._weights import Weights
from radiograph.dictionaries.training.loop._finish import finished, in_training
from radiograph.dictionaries.training.workers import Alone, Team

BETAS: Final = (0.9, 0.999)
BOUND_DECAY: Final = 0.99
RESAMPLED_LENGTH: Final = 0.2
"""Length of a resampled encoder row, as a share of the mean of the live ones."""


@dataclass(frozen=True, slots=True)
class Last:
    """What the latest step said, over all ranks."""

    losses: dict[str, float]
    active: float
    learning_rate: float
    gradient_norm: float


class Run:
    """Weights, optimiser and counters of a run under way."""

    def __init__(
        self, layout: Layout, config: TrainingConfig, count: int, sample: Batch, team: Team | None = None
    ) -> None:
        self.layout, self.config, self.team = layout, config, team or Alone()
        where = layout.places
        self.size = config.features(where.input_widths[0])
        self.steps, self.patience = config.steps(count), config.patience(count)
        self.rate = config.rate(self.size)
        for rows, sources in ((sample.inputs, where.inputs), (sample.targets, where.targets)):
            if odd := _odd(rows, sources):
                raise _not_finite(odd, "the sample that training starts from")
        generator = torch.Generator().manual_seed(derive(config.seed, "dictionary", "decoder"))
        self.weights = initial_weights(sample, where, config, self.size, generator)
        self.team.follow(list(self.weights.tensors.values()))
        self.optimiser = self._new_optimiser()
        self.objective = self._objective()
        self.buffers = Buffers()
        self.average = self.weights.map(torch.clone) if config.ema else None
        self.silence = torch.zeros(self.size, dtype=torch.long, device=self.weights.encoder.device)
        self.bound = 0.0
        self.step = 0
        self.last: Last | None = None

    def begin_with(self, given: Dictionary) -> None:
        """Continue from the tensors of a dictionary of the same shape, in training's own scale."""
        ours = in_training(given, self.layout, tied=self.weights.tied)
        for name, tensor in self.weights.tensors.items():
            if name not in ours or ours[name].shape != tensor.shape:
                raise UserError(
                    "the dictionary to begin with has another shape",
                    where=name,
                    expected=str(list(tensor.shape)),
                    got=str(list(ours[name].shape)) if name in ours else "no such tensor",
                )
            tensor.copy_(ours[name])
        if self.average is not None:
            self.average = self.weights.map(torch.clone)

    def advance(self, batch: Batch) -> None:
        """One step of the optimiser on this rank's share of the batch."""
        now, config = self.step, self.config
        if config.k_anneal:
            k = annealed(int(config.active), config.k_anneal, now, self.steps, self.size)
            self.objective = replace(self.objective, k=k)
        if config.strength:
            self.objective = replace(self.objective, sparsity=config.strength * ramp(now, self.steps))
        found = step(batch.inputs, batch.targets, self.weights, self.objective, dead=self._dead(), buffers=self.buffers)
        active, bound, losses = self._agree(found)
        if not sum(losses.values()) < float("inf"):
            self._blame(batch)
        rate = self.rate * rate_factor(now, self.steps)
        norm = self.optimiser.update(self.weights, found.gradients, rate)
        self.silence = torch.where(self.team.anywhere(found.fired), 0, self.silence + len(batch) * self.team.world)
        self.step += 1
        self._keep_averages(bound)
        if config.resample and resampled(self.step, self.steps):
            self._resample(batch)
        self.last = Last(losses, active, rate, norm)

    @property
    def threshold(self) -> float:
        """What `batchtopk` compares scores with while it is not calibrated: the mean bound of late steps."""
        return self.bound / (1 - BOUND_DECAY**self.step) if self.step else 0.0

    @property
    def kept(self) -> Weights:
        """The weights that a dictionary is made of."""
        return self.weights if self.average is None else self.average

    @property
    def dead(self) -> int:
        """Features silent for longer than the patience."""
        return len(self._dead())

    def dictionary(self, threshold: float | None = None, metadata: Metadata | None = None) -> Dictionary:
        """The dictionary of unscaled rows as it stands."""
        threshold = self.threshold if threshold is None else threshold
        return finished(self.kept, self.layout, self.config, threshold, metadata or Metadata())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain numbers from which `restore` goes on, bit for bit."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.tensors.items()}
        tensors |= {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.tensors.items()}
        return tensors | {"silence": self.silence}, {"step": self.step, "bound": self.bound.hex()}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.optimiser.load_state_dict(_part(tensors, "optimiser"))
        homes = [("weights", self.weights)] + ([] if self.average is None else [("average", self.average)])
        for prefix, home in homes:
            stored = _part(tensors, prefix)
            for name, tensor in home.tensors.items():
                tensor.copy_(stored[name])
        self.silence = tensors["silence"].to(self.silence)
        self.step, self.bound = int(numbers["step"]), float.fromhex(numbers["bound"])

    def _new_optimiser(self) -> Adam:
        betas = (0.0, BETAS[1]) if self.config.activation == "jumprelu" else BETAS
        unit_rows = self.layout.places.kind != "crosscoder"
        return Adam(self.weights, unit_rows=unit_rows, clip=self.config.clip, betas=betas)

    def _objective(self) -> Objective:
        widths = self.layout.places.target_widths
        # Scaled rows of a target of width d have total variance d.
        columns = torch.cat([self.weights.encoder.new_full((d,), 1 / (len(widths) * d)) for d in widths])
        return Objective(
            activation=self.config.activation,
            column_weights=columns,
            target_widths=widths,
            k=int(self.config.active) if self.config.activation in ("topk", "batchtopk") else 0,
            target_l0=self.config.active,
            prefixes=self.config.matryoshka,
            auxiliary=self.config.auxiliary,
            selection="decoder_norm" if self.layout.places.kind == "crosscoder" else "value",
        )

    def _agree(self, found: Step) -> tuple[float, float, dict[str, float]]:
        """L0, bound and losses as means over ranks; the gradients become theirs."""
        self.team.average(list(found.gradients.tensors.values()))
        numbers = torch.tensor([found.active, found.bound, *found.losses.values()], dtype=torch.float64)
        self.team.average([numbers])
        active, bound, *losses = numbers.tolist()
        return active, bound, dict(zip(found.losses, losses, strict=True))

    def _keep_averages(self, bound: float) -> None:
        self.bound = BOUND_DECAY * self.bound + (1 - BOUND_DECAY) * bound
        if self.average is None:
            return
        # Early steps are few: their mean must not be tied to the start.
        decay = min(self.config.ema, self.step / (self.step + 10))
        for mean, tensor in zip(self.average.tensors.values(), self.weights.tensors.values(), strict=True):
            mean.lerp_(tensor, 1 - decay)
        if self.optimiser.unit_rows:
            self.average.decoder.div_(self.average.decoder.norm(dim=1, keepdim=True))

    def _dead(self) -> Tensor:
        return (self.silence >= self.patience).nonzero().flatten()

    def _resample(self, batch: Batch) -> None:
        """Dead features read and write the direction of a row with a large error; their moments start at zero."""
        dead = self._dead()
        rebuilt = finished(self.weights, self.layout.unscaled, self.config, 0.0, Metadata()).reconstruct(batch.inputs)
        missed = (batch.targets - rebuilt).double().square().sum(1)
        generator = torch.Generator().manual_seed(derive(self.config.seed, "dictionary", "resample", self.step))
        number = min(len(dead), int((missed > 0).sum()))
        if number:
            rows = missed.multinomial(number, generator=generator)
            live = self.weights.encoder[self.silence < self.patience].norm(dim=1)
            length = RESAMPLED_LENGTH * float(live.mean()) if len(live) else 1.0
            self._start_again(dead[:number], batch.inputs[rows], batch.targets[rows], length)
        self.team.follow(list(self.weights.tensors.values()))

    def _start_again(self, features: Tensor, inputs: Tensor, targets: Tensor, length: float) -> None:
        weights = self.weights
        read, written = inputs - weights.input_bias, targets - weights.decoder_bias
        widths = list(self.layout.places.target_widths)
        norms = torch.stack([part.norm(dim=1) for part in written.split(widths, dim=1)]).mean(0).unsqueeze(1)
        fresh = {name: torch.zeros_like(tensor[features]) for name, tensor in weights.parameters.items()}
        fresh["encoder"] = read * (length / read.norm(dim=1, keepdim=True))
        fresh["decoder"] = written / norms
        fresh["encoder_bias"] = torch.zeros_like(weights.encoder_bias[features])
        for name, rows in fresh.items():
            weights.tensors[name][features] = rows
            for moments in (self.optimiser.first, self.optimiser.second):
                moments.tensors[name][features] = 0
        self.silence[features] = 0

    def _blame(self, batch: Batch) -> None:
        """Say whether data or step is at fault, at every rank the same.

        Raises:
            UserError: a row is not finite (exit 3).
            RadiographError: the rows are, our loss is not (exit 1).
        """
        places = self.layout.places
        own = _odd(batch.inputs, places.inputs) or _odd(batch.targets, places.targets)
        for rank, odd in enumerate(self.team.gather(own or {})):
            if odd:
                raise _not_finite(odd, f"step {self.step}, worker {rank}")
        raise RadiographError(f"the loss at step {self.step} is not finite although the rows are")


def sampled(layout: Layout, activations: Any, seed: int) -> Batch:
    """The training rows from which a run starts."""
    parts = list(layout.read(activations, "train", MEDIAN_ROWS, seed=derive(seed, "dictionary", "median")))
    inputs = torch.cat([part.inputs for part in parts])
    if layout.places.kind != "transcoder":
        return Batch(inputs, inputs)
    return Batch(inputs, torch.cat([part.targets for part in parts]))


def _odd(rows: Tensor, sources: tuple[str, ...]) -> dict[str, Any] | None:
    """The first value that is not finite."""
    found = (~rows.isfinite()).nonzero()
    if not len(found):
        return None
    row, column = found[0].tolist()
    return {"sources": ", ".join(sources), "row": row, "column": column, "value": str(float(rows[row, column]))}


def _not_finite(odd: dict[str, Any], where: str) -> UserError:
    return UserError(
        f"a row of {odd['sources']} is not finite",
        where=f"{where}, row {odd['row']} of the batch, column {odd['column']}",
        got=odd["value"],
        code="not_finite",
    )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
