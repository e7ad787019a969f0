"""What comes from elsewhere: scores that somebody supplied, results of other runs; where the badge goes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from radiograph.core import Context, FormatError, UserError, finite_number, nearest
from radiograph.evidence.reportcard.card import Attached, ModeScore, ReportCard
from radiograph.numerics.reportcard import MODES, point_band

if TYPE_CHECKING:
    from radiograph.methods._diagnose.options import Config

VERBS = ("probe.sae-diff", "probe.defection", "probe.truth", "probe.harm", "probe.interference", "blame")
SCORES, ATTACHED, RESULT = "supplied/scores.json", "attached", "result.json"
"""In the bundle: the file of scores as it was given; manifest and result of attached runs."""
EVIDENCE = 4096
"""Characters of what stands beside a supplied score."""
SHAPE = '{"scores": {MODE: {"score": 0..1}}, "extras": {}}'


@dataclass(frozen=True)
class Supplied:
    """Scores of elsewhere, by mode."""

    modes: dict[str, ModeScore] = field(default_factory=dict[str, ModeScore])
    extras: dict[str, Any] = field(default_factory=dict[str, Any])


def read_evidence(config: Config, ctx: Context) -> Supplied:
    """The file of scores, each checked, its band derived again.

    Raises:
        UserError: too large, no JSON, an unknown mode, a score that is no number in [0, 1].
    """
    if config.evidence is None:
        return Supplied()
    opened = ctx.opened(config.evidence, "evidence")
    ctx.limits.check("losses-bytes", opened.size, "the file of scores", opened.name)
    data = opened.read(ctx.limits["losses-bytes"])
    found = read_scores(data, opened.name)
    ctx.limits.check("extras", len(found.extras), "extras", opened.name)
    for key, value in found.extras.items():
        ctx.limits.check("name-characters", len(key), "characters of a key of extras", opened.name)
        ctx.limits.check("extras", _length(value), f"characters of extras.{key[:40]}", opened.name)
    ctx.output.data(SCORES, data)
    return found


def read_scores(data: bytes, where: str) -> Supplied:
    """Scores of a file, each checked.

    Raises:
        UserError: no JSON, an unknown mode, a score that is no number in [0, 1].
    """
    try:
        document: Any = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is no JSON", expected=SHAPE, got=str(error)) from error
    scores = _mapping(document, "$", where).get("scores")
    found = {name: _supplied(name, value, where) for name, value in _mapping(scores, "scores", where).items()}
    return Supplied(found, _mapping(document.get("extras") or {}, "extras", where))


def read_attached(config: Config, ctx: Context) -> tuple[Attached, ...]:
    """Results of finished runs, as they stand there.

    Raises:
        UserError: not a finished run, one that was changed, or one of another verb.
    """
    from radiograph.store import MANIFEST, finished

    found: list[Attached] = []
    for number, reference in enumerate(config.attach):
        path = ctx.path(reference, f"attached-{number}")
        bundle = finished(path)
        manifest = bundle.manifest
        if manifest.verb not in VERBS:
            raise UserError(f"{path.name} is a run of {manifest.verb}", expected="a run of " + ", ".join(VERBS))
        for name in (MANIFEST, RESULT):
            ctx.output.data(f"{ATTACHED}/{number}/{name}", (path / name).read_bytes())
        found.append(of_run(path, path.name))
    return tuple(found)


def of_run(folder: Path, name: str) -> Attached:
    """What a run says of itself, from its manifest and its result.

    Raises:
        FormatError: a result that is not the one of the manifest, or of an unknown kind.
    """
    from radiograph.store import MANIFEST, Bundle, file_sha256

    bundle = Bundle(folder)
    manifest, result = bundle.manifest, bundle.result
    if file_sha256(folder / RESULT) not in [one.sha256 for one in manifest.outputs if one.path == RESULT]:
        raise FormatError(f"{RESULT} of {name} is not the one of its manifest")
    return Attached(
        verb=manifest.verb,
        run=name,
        seal=file_sha256(folder / MANIFEST),
        headline=_headline(result),
        exit_code=manifest.exit_code,
        band=result.get("band"),
    )


def badge_place(reference: str, ctx: Context) -> Path:
    """Where the badge goes.

    Raises:
        UserError: no such folder, a folder, a link, or no SVG.
    """
    place = ctx.place(reference)
    if place.suffix != ".svg":
        raise UserError(f"{reference} is no SVG", where="--badge", expected="a name that ends in .svg")
    if place.is_dir() or (ctx.locate(".") / reference).is_symlink() or not place.parent.is_dir():
        raise UserError(f"cannot write {reference}", where="--badge", expected="a file in a folder that is there")
    return place


def write_badge(card: ReportCard, place: Path) -> None:
    """Worst band and how much was measured."""
    from radiograph.reports.pages.probes.diagnose import badge
    from radiograph.store import write_whole

    image = badge(card.model_dump(mode="json"))
    write_whole(place, [image], len(image))


def _headline(result: dict[str, Any]) -> str:
    """What the run said of itself in one line."""
    from radiograph.evidence import Refused, Result
    from radiograph.evidence.influence import Blame, BlamePlan, BlameScreen
    from radiograph.evidence.probes.interference import Interference
    from radiograph.evidence.probes.probe import ProbeReading
    from radiograph.evidence.probes.shift import FeatureShift

    kinds: tuple[type[Result], ...] = (FeatureShift, ProbeReading, Interference, Blame, BlamePlan, BlameScreen, Refused)
    schema = str(result.get("schema")).rpartition("/")[0]
    kind = next((k for k in kinds if k.SCHEMA.rpartition("/")[0] == schema), None)
    if kind is None:
        raise FormatError("a result of an unknown schema", got=str(result.get("schema")))
    return kind.read(result).headline


def _supplied(name: str, value: Any, where: str) -> ModeScore:
    if name not in MODES:
        close = nearest(name, list(MODES))
        raise UserError(
            f"unknown mode {name!r}",
            where=f"{where}: scores",
            expected=", ".join(MODES),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_mode",
        )
    given = _mapping(value, f"scores.{name}", where)
    number = finite_number(given.get("score"))
    if number is None:
        raise UserError(f"scores.{name}.score is no finite number", where=where, got=repr(given.get("score"))[:80])
    if not 0 <= number <= 1:
        raise UserError(f"scores.{name}.score is outside [0, 1]", where=where, got=repr(number))
    if _length(given.get("evidence")) > EVIDENCE:
        raise UserError(
            f"scores.{name}.evidence is too long", where=where, expected=f"at most {EVIDENCE:,} characters of JSON"
        )
    return ModeScore(
        mode=name,
        requested=False,
        status="supplied",
        band=point_band(number),
        score=number,
        evidence=given.get("evidence"),
    )


def _length(value: Any) -> int:
    """Characters of a value: of a text its own, else those of its JSON."""
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))


def _mapping(value: Any, place: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{where}: {place} is no object", expected=SHAPE, got=type(value).__name__)
    return cast("dict[str, Any]", value)


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not finite")
