"""What `edit apply` and `edit train` are given: parts, selection, examples, plain text; and what follows an edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import Context, RadiographError, UserError
from radiograph.evidence import RefusalRecord
from radiograph.evidence.edits import Edit, EditSearch
from radiograph.methods._decomposed.token import one_token
from radiograph.methods._edit import examples as _examples
from radiograph.methods._edit import parts as _parts
from radiograph.store import complete

if TYPE_CHECKING:
    from collections.abc import Sequence

    from radiograph.core.components import Component
    from radiograph.methods._edit.examples import Examples, Row
    from radiograph.methods._edit.options import EditOptions
    from radiograph.methods._edit.parts import Parts


@dataclass(frozen=True, eq=False)
class Given:
    """All of it."""

    parts: Parts
    chosen: Sequence[Component]
    examples: Examples | None
    plain: Sequence[Row]
    target: Sequence[Row]
    searched_by: bool = False
    """The parts were chosen by these examples."""


def opened(ctx: Context, config: EditOptions) -> Given:
    """Read everything that the options name.

    Raises:
        UserError: nothing is chosen, no text to measure on, a folder to bake into that exists.
    """
    if config.bake is not None and ctx.place(config.bake).exists():
        raise UserError(
            f"{config.bake} exists", where="--bake", expected="a new folder", fix="choose another", code="exists"
        )
    _check_calibration(ctx, config)
    search = config.search
    found, folder = (None, None) if search is None else _search(ctx, search)
    decomposition = config.decomposition
    if decomposition is None and folder is not None and (folder / _parts.PIECES / _parts.DOCUMENT).is_file():
        decomposition = search
    parts = _parts.opened(ctx, config.model, decomposition)
    if found is not None and found.parts_sha256 != parts.sha256:
        raise UserError(
            "the search was of other parts",
            where="--search",
            expected=parts.sha256,
            got=found.parts_sha256,
            fix="search this model",
            code="decomposition_mismatch",
        )
    named = config.component or (() if found is None else found.selected)
    chosen = parts.read(named)
    if not chosen:
        raise UserError(
            "no component is chosen", where="--component", expected="--component down.3:17, or --search RUN"
        )
    source = config.examples
    if source is None and folder is not None and (folder / "examples.jsonl").is_file():
        source = f"{search}/examples.jsonl"
    examples = None
    if source is not None:
        examples = _examples.with_foils(_examples.read(ctx, parts.model, source), parts.reference)
    texts = _examples.texts(ctx, parts.model, config.data, ctx.seed, config.data_rows) if config.data else ()
    plain = (*(examples.plain if examples is not None else ()), *texts)
    if len(plain) < _examples.LEAST:
        raise UserError(
            "an edit is measured on text that has nothing to do with it",
            where="--data",
            expected=f"{_examples.LEAST} windows or more, as --data world:mixture#200",
            got=f"{len(plain)}",
        )
    if parts.kind == "pieces" and parts.levels is None:
        off = [b.read for b in _examples.batches(plain)]
        parts = replace(parts, levels=_parts.levels(parts, off))
    return Given(parts, chosen, examples, plain, _target(config, parts, examples), source is not config.examples)


def _check_calibration(ctx: Context, config: EditOptions) -> None:
    """What only the audit would miss, when everything else is done.

    Raises:
        UserError: a calibration without an audit, or nothing there.
    """
    if config.calibration == "auto":
        return
    if not config.audit:
        raise UserError("--calibration is of the audit", where="--calibration", fix="add --audit", code="bad_value")
    if config.calibration != "none" and not config.calibration.startswith("calibration:"):
        ctx.locate(config.calibration)


def _target(config: EditOptions, parts: Parts, examples: Examples | None) -> tuple[Row, ...]:
    """Prompts with the token that is wanted after them.

    Raises:
        UserError: a token of several pieces; no examples.
    """
    token = getattr(config, "target", None)
    if token is None:
        return ()
    if examples is None:
        raise UserError("--target is measured after the prompts of examples", where="--target", fix="give --examples")
    number = one_token(parts.model, token, where="--target")
    return tuple(_examples.Row((*row.ids[: row.start], number), row.start) for row in examples.own)


def _search(ctx: Context, reference: str) -> tuple[EditSearch, Path]:
    folder = ctx.path(reference, "search")
    return complete(folder, EditSearch, what="is not a search of parts", made_by="edit search")[0], folder


def edited(ctx: Context, made: Edit, config: EditOptions) -> Edit:
    """The result, audited where that is asked for; an audit that cannot run is said, and is no verdict."""
    if not config.audit:
        return made
    base, _ = _parts.sides_of(ctx, config.model)
    try:
        candidate = f"{base}+{ctx.output.folder(made.adapter)}"
        step = ctx.step("audit", reference=base, candidate=candidate, calibration=config.calibration)
    except RadiographError as error:
        text = str(error).splitlines()[0]
        record = RefusalRecord(code=getattr(error, "code", "audit"), text=text, what="audit")
        return made.model_copy(update={"not_measured": (*made.not_measured, record)})
    return made.model_copy(update={"audit": step.result.verdict})
