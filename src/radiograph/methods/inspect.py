"""Which features go with a criterion, how surely, and do they act?

1. the criterion becomes labelled rows: of the records themselves, or compiled from prompts, templates, the small world
   or an endpoint; groups are united and halved. Its words are compared with nothing
2. features come from records as they are, or are measured by running MODEL (a step `records export`); dumps and
   services say what they say, quoted and never counted
3. discover chooses: eligible features by firing alone, then the K largest |z| of a rank test that treats silence as
   zero. Confirm measures these once: estimate, interval, p, q; confirmed is q ≤ --q with the sign of discover
4. the same steps on permuted labels give the sham count; random halves give stability; positives against near misses
   tell the concept from its form
5. interventions, given or made for the best candidates, are judged apart: correlations and effects share no ranking
6. no finding is a result: adequate where --smallest-effect would have been found (exit 0), else inconclusive (exit 4)
   with the units that would do
Entries are read in ranges of features, within --memory, of which rows take a part. Beside them stand ids, labels and
groups of every row, what was measured of every feature, and the entries of the candidates.
Sources: Benjamini and Hochberg (1995), Bourgon et al. (2010), DeLong et al. (1988), Westfall and Young (1993).
Units: AUROC; share of pairs; Spearman's ρ. Refuses: one class, fewer than 8 units a class in a half, no feature active
often enough, no row labelled, endpoints that fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiograph.core import Context, UserError
from radiograph.evidence.features import Inspection, Requirement
from radiograph.methods._inspect.options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.criteria import Compiled
    from radiograph.methods._inspect.options import Asked


class Config(Options):
    """What the concept is, which features are looked at, and how sure an answer has to be."""


def run(config: Config, ctx: Context) -> Inspection:
    """Compile, measure, confirm, show."""
    from radiograph.methods._inspect import live, sources, written

    asked = _asked(config, ctx)
    require = None if config.require is None else Requirement.parse(config.require)
    _check(config)
    compiled = _compiled(config, ctx)
    if compiled is not None:
        _write_compiled(compiled, ctx.output.folder("criterion"))
    if config.compile_only:
        assert compiled is not None
        return Inspection(model=ctx.label(config.model), criterion=compiled.criterion, outcome="compiled")
    given = opened = sources.opened(config, ctx)
    if any(one.kind == "live" for one in opened):
        if compiled is None:
            compiled = sources.compiled(config, ctx)
            _write_compiled(compiled, ctx.output.folder("criterion"))
        given = live.recorded(config, ctx, opened, compiled)
    return written.inspection(config, ctx, asked, given, opened, compiled, require)


def _check(config: Config) -> None:
    if not config.criterion:
        raise UserError("inspect needs --criterion", expected="words, world:ATTRIBUTE or criterion.json")
    if not config.features and not config.compile_only:
        raise UserError(
            "inspect needs --features", expected="KIND[:WHERE], repeatable", fix="see `radiograph inspect --help`"
        )
    if (config.endpoint is None) != (config.writer_model is None):
        raise UserError("--endpoint and --writer-model belong together", code="bad_value")


def _asked(config: Config, ctx: Context) -> Asked:
    from radiograph.criteria import read_split

    split = None if config.split is None else read_split(ctx.path(config.split, "split"))
    return config.asked(ctx.seed, split)


def _compiled(config: Config, ctx: Context) -> Compiled | None:
    """The criterion from a route, where one is named; else None, and records bring their own labels."""
    routes = (config.prompts, config.template, config.endpoint)
    named = config.criterion.startswith("world:") or config.criterion.endswith(".json")
    from radiograph.methods._inspect.sources import compiled

    if not (named or config.compile_only or any(route is not None for route in routes)):
        return None
    return compiled(config, ctx)


def _write_compiled(compiled: Compiled, folder: Path) -> None:
    from radiograph.criteria import write_compiled

    write_compiled(compiled, folder)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do grades, codes, q and counts follow from the numbers in the tables?"""
    from radiograph.methods._inspect.recompute import differences

    return differences(Inspection.read(result), folder, Config)
