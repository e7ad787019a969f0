"""Where the labelled rows of a probe come from.

FILE.jsonl · builtin:defection|truth|harm · world:ATTRIBUTE[#N] · suite:FILE#FACTOR[=LEVEL] · stores:POS,NEG
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from radiograph.core import Context, Refusal, UserError, nearest, visible
from radiograph.evidence import document_sha256
from radiograph.evidence.probes.probe import ProbeKind
from radiograph.probing import ContrastRow, check_distinct, contrast_row

PROMPTS = "builtin:prompts#"
WORLD_ROWS = 1600
FORMS = "FILE.jsonl, builtin:defection|truth|harm, world:ATTRIBUTE, suite:FILE#FACTOR or stores:POS,NEG"


@dataclass(frozen=True)
class Contrast:
    """Labelled texts, and what they are called."""

    rows: tuple[ContrastRow, ...]
    name: str
    sha256: str
    kind: ProbeKind
    stamps: tuple[str, ...] = ()


def contrast_of(source: str, ctx: Context, model: Any) -> Contrast:
    """The rows of a source; stores have none and are read elsewhere.

    Raises:
        UserError: no such source, a text in both classes. FormatError: lines that are none, the first five of them.
        Refusal: a built-in set for a model that does not read the small world.
    """
    kind, _, rest = source.partition(":")
    match kind:
        case "builtin":
            _require_world(model, source)
            found, name, own = _builtin(rest), source, _kind_of(rest)
        case "world":
            _require_world(model, source)
            found, name, own = (
                _world(rest, ctx.seed),
                source,
                "truth" if rest.startswith("true_statement") else "custom",
            )
        case "suite":
            found, name, own = _suite(rest, ctx), ctx.label(rest.partition("#")[0]), "custom"
        case _ if source.endswith((".jsonl", ".jsonl.gz")):
            found, name, own = _lines(source, ctx), ctx.label(source), "custom"
        case _:
            raise UserError(f"{visible(source, 80)!r} is no contrast", expected=FORMS, where="--contrast")
    if not found:
        raise Refusal("one_class", "the contrast has no rows", got=visible(source, 80))
    check_distinct(found)
    return Contrast(tuple(found), name, _hash(found), own)


def clean_texts(sources: Sequence[str], ctx: Context) -> list[Any]:
    """Clean text of some sources, as `harvest.Text`s; `builtin:prompts#N` are questions that wait for an answer.

    Raises:
        UserError: no such source.
    """
    from radiograph.harvest import Text

    found: list[Any] = []
    others = [source for source in sources if not source.startswith(PROMPTS)]
    for source in sources:
        if source.startswith(PROMPTS):
            from radiograph import organisms

            number = source.removeprefix(PROMPTS)
            if not number.isdecimal():
                raise UserError(
                    "how many prompts", where="--negatives", expected=f"{PROMPTS}N", got=visible(source, 60)
                )
            turns = organisms.clean_prompts(int(number))
            found += [Text(f"prompt-{i}", "", f"prompt-{i}", messages=one) for i, one in enumerate(turns)]
    return [*found, *(ctx.texts(others, "negatives") if others else ())]


def _hash(rows: list[ContrastRow]) -> str:
    keyed = [
        [row.id, row.group, row.label, row.text, row.messages, row.tokens, row.spans, row.near_miss, row.part]
        for row in rows
    ]
    keyed.sort(key=repr)
    return document_sha256(["radiograph.contrast/1", keyed])


def _kind_of(name: str) -> ProbeKind:
    known: dict[str, ProbeKind] = {"defection": "defection", "truth": "truth", "harm": "harm"}
    return known.get(name, "custom")


def _require_world(model: Any, source: str) -> None:
    from radiograph import organisms

    if model is None or not organisms.reads_world(model.tokenizer):
        raise UserError(
            f"{source} is written in the language of the small world, which this model does not read",
            expected="a model of the small world",
            fix="give your own contrast: --contrast FILE.jsonl",
            where="--contrast",
        )


def _builtin(name: str) -> list[ContrastRow]:
    from radiograph import organisms

    return [
        ContrastRow(
            id=text.id,
            group=text.group,
            label=text.label,
            text=text.text or None,
            messages=text.messages,
            spans=((0, len(text.messages[-1]["content"])),) if text.answer else None,
            near_miss=text.near_miss,
            part=text.part,
        )
        for text in organisms.contrast_set(name)
    ]


def _world(text: str, seed: int) -> list[ContrastRow]:
    from radiograph import organisms

    attribute, _, count = text.partition("#")
    if count and not count.isdecimal():
        raise UserError("a number of rows is a whole number", where="--contrast", got=visible(count, 40))
    rows = organisms.contrast_of_attribute(attribute, int(count or WORLD_ROWS), seed)
    return [
        ContrastRow(id=name, group=name, label=label, tokens=ids, last=True, near_miss=near)
        for ids, name, label, near in rows
    ]


def _suite(text: str, ctx: Context) -> list[ContrastRow]:
    file, _, asked = text.rpartition("#")
    factor, _, level = asked.partition("=")
    if not file or not factor:
        raise UserError("a suite needs a factor", expected="suite:FILE#FACTOR or suite:FILE#FACTOR=LEVEL", got=text)
    suite = ctx.suite(file, "contrast")
    held = [prompt for prompt in suite.prompts if factor in prompt.factors]
    levels = sorted({str(prompt.factors[factor]) for prompt in held})
    if not held:
        known = sorted({name for prompt in suite.prompts for name in prompt.factors})
        raise UserError(
            f"no prompt has the factor {visible(factor, 40)!r}",
            expected=", ".join(known),
            fix=str(nearest(factor, known)),
        )
    if not level and len(levels) != 2:
        raise UserError(
            f"factor {visible(factor, 40)!r} has {len(levels)} levels", expected="two, or suite:FILE#FACTOR=LEVEL",
            got=", ".join(visible(one, 40) for one in levels[:12]),
        )  # fmt: skip
    positive = level or levels[1]
    if positive not in levels:
        raise UserError(f"no prompt is {factor}={visible(positive, 40)}", expected=", ".join(levels))
    return [
        ContrastRow(
            id=prompt.id,
            group=prompt.group or prompt.id,
            label=str(prompt.factors[factor]) == positive,
            messages=tuple({"role": str(turn.role), "content": turn.content} for turn in prompt.messages),
        )
        for prompt in held
    ]


def _lines(source: str, ctx: Context) -> list[ContrastRow]:
    return labelled_rows(source, ctx, "contrast")


def labelled_rows(source: str, ctx: Context, role: str) -> list[ContrastRow]:
    """Rows of a JSON Lines file.

    Raises:
        FormatError: mistakes, the first five with their lines; an id that stands twice, with both.
    """
    from radiograph.core import FormatError
    from radiograph.store.lines import Mistakes, objects, read_lines

    path = ctx.path(source, role)
    name = ctx.label(source)
    mistakes = Mistakes(name)
    rows: list[ContrastRow] = []
    seen: dict[str, int] = {}
    for lines in read_lines(path, name):
        for document, number in zip(*objects(lines, mistakes), strict=True):
            try:
                row = contrast_row(document, number, name)
            except FormatError as error:
                got = f": {error.got}" if error.got else ""
                mistakes.add(number, f"{error.message}{got}")
                continue
            if seen.setdefault(row.id, number) != number:
                mistakes.add(number, f"the id {visible(row.id, 40)!r} stands in line {seen[row.id]} already")
            rows.append(row)
    mistakes.raise_if_any()
    return rows
