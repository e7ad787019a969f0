"""The models that say what vectors mean, and the ones that read it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Source, UserError

if TYPE_CHECKING:
    from radiograph.methods.explain._given import Gathered


def verbalizing(
    ctx: Context, given: Gathered, name: str, speaker: str | None, reconstructor: str | None
) -> dict[str, Any]:
    """A verbalizer by name, and a reconstructor where there is one.

    Raises:
        UserError: no such verbalizer, or it lacks something; vectors of several sites; no model.
    """
    from radiograph.explanations import verbalizer_module
    from radiograph.explanations.verbalizers._speech import Voice

    module = verbalizer_module(name or "selfie")
    if given.model is None or given.site is None or "+" in given.site:
        raise UserError(
            "a verbalizer needs the model, and features that write to one site",
            fix="radiograph explain features SOURCE MODEL --with verbalizer:NAME",
            code="no_model",
        )
    speaks, at = _loaded(ctx, speaker, "verbalizer")
    rebuilds, beside = _loaded(ctx, reconstructor, "reconstructor")
    voice = Voice(given.model, Source.parse(given.site).site, speaks, at, rebuilds, beside)
    if lacks := module.lacks(voice):
        raise UserError(f"--with verbalizer:{name} needs {lacks}", code="no_explainer")
    verbalizer, reader = module.make(voice)
    return {"verbalizer": verbalizer, "reconstructor": reader}


def _loaded(ctx: Context, reference: str | None, role: str) -> tuple[Any, Path | None]:
    if reference is None:
        return None, None
    model = ctx.model(reference, role)
    sidecar = None if model.folder is None else model.folder / "nla_meta.yaml"
    if sidecar is not None and sidecar.is_file():
        ctx.path(str(sidecar), f"{role}.sidecar")
    return model, model.folder
