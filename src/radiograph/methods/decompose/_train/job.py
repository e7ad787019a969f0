"""From the options of `decompose train` to what training needs: target, data, settings, truth.

What is not given comes from the preset; without one, that of the toy, or `lm` of a language model. Restart n trains
with the seed of the run plus n, on the same data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.decompose.metrics import Truth
    from radiograph.decompose.training import Data, Settings, State, Trained
    from radiograph.models.masked import Target
    from radiograph.organisms.toys import Toy

CHECKPOINTS = "checkpoints"
DATA = "world:mixture#12000"
"""Of a language model without `--data`."""
_PASSED_ON = (
    *("squash", "start", "steps", "batch", "learning_rate", "schedule", "warmup_steps", "eval_every", "precision"),
    *("clip_components", "clip_nets"),
)


@dataclass(frozen=True, eq=False)
class Job:
    """One run of the verb, before any work."""

    config: Any
    ctx: Context
    target: Target
    toy: Toy | None
    data: Data
    settings: Settings
    sources: dict[str, str]
    """Data and hash."""
    preset: str | None

    @property
    def threshold(self) -> float:
        """Importance above which a component counts as firing."""
        if self.config.threshold is not None:
            return self.config.threshold
        return 0.0 if self.toy is None else 0.1

    def batches(self, count: int) -> Iterator[Tensor]:
        """Held-out batches."""
        for number in range(count):
            yield self.data.held_out(number, self.settings.batch).to(self.target.device)

    def truth(self) -> dict[str, Truth]:
        """What is known of each weight of a toy that is decomposed."""
        from radiograph.decompose.metrics import Truth
        from radiograph.organisms.toys import directions

        found: dict[str, Truth] = {}
        if self.toy is None:
            return found
        for weight, known in self.toy.recipe.known.items():
            if weight in self.settings.sizes:
                given = directions(self.toy.recipe, self.toy.network, weight)
                rest = {} if given is None else {"directions": given[0], "side": given[1]}
                found[weight] = Truth(known.parts, known.pattern, known.fewest, **rest)
        return found

    def train(self, number: int) -> Trained:
        """Train restart `number`; an earlier run is adopted first, if one is to be resumed."""
        from radiograph.decompose.training import Checkpoints, train

        settings = self.settings.model_copy(update={"seed": self.settings.seed + number})
        kept = Checkpoints(
            self._folder(number),
            {
                "settings": settings.model_dump(mode="json"),
                "target": self.target.sha256,
                "data": self.sources,
                "length": self.config.length,
            },
        )

        def keep(state: State) -> None:
            kept.save(state)

        return train(self.target, self.data, settings, progress=self.ctx.progress, keep=keep, resume=kept.restore)

    def close(self) -> None:
        """Remove what only an unfinished run needs."""
        if not self.config.keep_checkpoints:
            for number in range(self.config.restarts):
                shutil.rmtree(self._folder(number), ignore_errors=True)

    def _folder(self, number: int) -> Path:
        return self.ctx.output.folder(CHECKPOINTS if number == 0 else f"{CHECKPOINTS}-{number}")


def prepare(config: Any, ctx: Context) -> Job:
    """Find and check everything before the first step."""
    from radiograph.decompose.training import chosen, preset_of

    if config.resume is not None:
        run = ctx.locate(config.resume)
        for number in range(config.restarts):
            name = CHECKPOINTS if number == 0 else f"{CHECKPOINTS}-{number}"
            if (run / name).is_dir():
                ctx.output.adopt(run, name)
    toy = ctx.toy(config.model)
    if toy is not None:
        target = toy.target
    else:
        from radiograph.models.masked import of_model

        target = of_model(ctx.model(config.model, "model"))
    name = config.preset or (toy.recipe.name if toy is not None else "lm")
    preset = preset_of(name)
    given = preset.pop("weights")
    sizes = chosen(target, config.weights or given, config.identity, tie=config.tie)
    length = config.length or preset.pop("length", 64)
    preset.pop("length", None)
    settings = _settings(config, ctx.seed, preset, sizes, target)
    data, sources = _data(config, ctx, toy, target, length)
    return Job(config, ctx, target, toy, data, settings, sources, name)


def _settings(config: Any, seed: int, preset: dict[str, Any], sizes: dict[str, int], target: Target) -> Settings:
    from radiograph.decompose.importance import settled
    from radiograph.decompose.losses import parse
    from radiograph.decompose.training import Settings
    from radiograph.numerics.components.squash import squash_of

    own = {name: getattr(config, name) for name in _PASSED_ON if getattr(config, name) is not None}
    if config.importance is not None:
        kind, options = read_importance(config.importance)
        own |= {"importance": kind, "importance_options": options}
    if config.loss:
        own["losses"] = tuple(config.loss)
    fixed = {"sizes": sizes, "seed": seed, "distance": "kl" if target.tokens else "mse"}
    settings = Settings(**(preset | own | fixed))
    settled(settings.importance, settings.importance_options)
    squash_of(settings.squash)
    for text in settings.losses:
        parse(text)
    return settings


def read_importance(text: str) -> tuple[str, dict[str, int]]:
    """`NAME[:key=value,…]`.

    Raises:
        UserError: another form, an unknown kind or option.
    """
    from radiograph.decompose.importance import kind_of, settled

    name, _, rest = text.partition(":")
    kind_of(name)
    options: dict[str, int] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not value.isdecimal():
            raise UserError(f"--importance {text}", expected="NAME[:key=number,…], as shared:hidden=64", got=pair)
        options[key] = int(value)
    settled(name, options)
    return name, options


def _data(config: Any, ctx: Context, toy: Toy | None, target: Target, length: int) -> tuple[Data, dict[str, str]]:
    from radiograph.decompose.training import Vectors, documents

    if toy is not None:
        if config.data:
            raise UserError(
                "a toy makes its own data", expected="no --data", got=", ".join(config.data), code="bad_value"
            )
        recipe = toy.recipe
        data = Vectors(recipe.features, recipe.probability, recipe.low, 1.0, ctx.seed)
        return data, {f"features:{recipe.probability:g}:{recipe.low:g}-1": toy.sha256}
    from radiograph.harvest import Reading, encode, pieces

    model = target.model
    assert model is not None
    if length > model.context_length:
        raise UserError(
            f"--length {length}",
            expected=f"at most {model.context_length} tokens, the model's context",
            code="too_long",
        )
    corpus = ctx.corpus(config.data or (DATA,))
    reading = Reading(length=length, rows="all", bos="keep")
    rows = (list(ids) for _, text in encode(model.tokenizer, corpus, reading) for ids, _ in pieces(text, reading))
    return documents(rows, length, seed=ctx.seed), dict(corpus.hashes)
