"""The model that an imported dictionary is checked against: rows of its sites on the same tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, Source, UserError

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary, ModelIdentity, Quality
    from radiograph.dictionaries.formats import Known
    from radiograph.models import LanguageModel


def known(ctx: Context, model: str, candidates: Sequence[str], data: Sequence[str], max_rows: int) -> Known:
    """Load the models and say how wide their sites are and what flows through them.

    Raises:
        UserError: no tokenizer. Refusal: `tokenizers_differ`, since rows of several models must be of the same tokens.
    """
    from radiograph.dictionaries.formats import Known

    models = {"reference": ctx.model(model, "model")}
    for number, reference in enumerate(candidates):
        role = "candidate" if number == 0 else f"candidate{number + 1}"
        models[role] = ctx.model(reference, role)
    first = models["reference"]
    _same_tokens(models)
    rows = _Rows(ctx, models, data, max_rows)
    identities = [_identity(ctx, name, m) for name, m in zip((model, *candidates), models.values(), strict=True)]
    return Known(
        model=identities[0],
        tokenizer_sha256=first.identity.tokenizer_sha256,
        width_of=rows.width_of,
        rows_of=rows.rows_of,
        candidates=tuple(identities[1:]),
        neutral=rows.neutral,
    )


class _Rows:
    """Widths and rows of the sources of some models."""

    def __init__(self, ctx: Context, models: Mapping[str, LanguageModel], data: Sequence[str], max_rows: int) -> None:
        self._ctx, self._models, self._max_rows = ctx, models, max_rows
        self._given = ctx.texts(data) if data else None

    def width_of(self, address: str) -> int | None:
        """Width of a source, None where no model has it."""
        source = Source.parse(address)
        model = self._models.get(source.role)
        if model is None:
            return None
        try:
            (site,) = model.sites(str(source.site))
        except UserError:
            return None
        return model.site_width(site)

    def rows_of(self, addresses: Sequence[str]) -> dict[str, Any]:
        """Rows of several sources: one forward of each model."""
        return self._harvest(addresses, self._texts(self._given is None))

    def neutral(self, dictionary: Dictionary) -> Quality | None:
        """Quality on the standard neutral texts, for the guard of later audits; None where that is not defined."""
        from radiograph.dictionaries import evaluate

        if dictionary.kind != "sae":
            return None
        rows = self._harvest([dictionary.site], self._texts(True))
        return evaluate(dictionary, [rows[dictionary.site]])

    def _texts(self, neutral: bool) -> Any:
        from radiograph.harvest import read
        from radiograph.organisms import standard_neutral

        return read(standard_neutral(self._models["reference"].tokenizer)) if neutral else self._given

    def _harvest(self, addresses: Sequence[str], texts: Any) -> dict[str, Any]:
        from radiograph.harvest import harvest

        found: dict[str, Any] = {}
        for role, model in self._models.items():
            own = {a: str(Source.parse(a).site) for a in addresses if Source.parse(a).role == role}
            if own:
                sites = list(dict.fromkeys(own.values()))
                shards = harvest(model, texts, sites, max_rows=self._max_rows, progress=self._ctx.progress)
                found |= {address: shards.rows(site) for address, site in own.items()}
        return found


def _same_tokens(models: Mapping[str, LanguageModel]) -> None:
    if models["reference"].tokenizer is None:
        raise UserError("the model has no tokenizer", fix="checks need text to become tokens")
    hashes = {role: model.identity.tokenizer_sha256 for role, model in models.items()}
    if len(set(hashes.values())) > 1:
        raise Refusal("tokenizers_differ", "rows of several models must be of the same tokens", got=str(hashes))


def _identity(ctx: Context, reference: str, model: LanguageModel) -> ModelIdentity:
    from radiograph.dictionaries import ModelIdentity

    return ModelIdentity(reference=ctx.label(reference), tensors_sha256=model.identity.tensors_sha256)
