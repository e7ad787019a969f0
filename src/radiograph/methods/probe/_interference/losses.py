"""A file of losses that were measured elsewhere.

    {"adapters": ["sql", "chat"], "losses": {"sql|sql": 0.8, "sql|chat": 1.0, "chat|chat": 1.1, "chat|sql": 1.1}}
    {"adapters": ["sql", "chat"], "losses": [{"target": "sql", "with": ["sql", "chat"], "loss": 1, "sd": 0.3, "n": 90}]}

A key of the first form is looked up among all pairs of declared names, so a name may hold a `|`; a key that fits two
pairs is refused. In the second, `with: []` is the base. Losses are above 0; every adapter needs its own alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from radiograph.core import FormatError, UserError, finite_number, nearest, visible

if TYPE_CHECKING:
    from radiograph.core import Context
    from radiograph.store.opened import Opened

ENTRY = ("target", "with", "loss", "sd", "n")
FEWEST = 2
SHOWN = 60
SMALLEST, LARGEST = 1e-60, 1e60
"""Losses: products of four must stay floats."""
MOST_ROWS = 10**9


@dataclass(frozen=True)
class Loss:
    """A mean, and how it spreads over rows where that is known."""

    loss: float
    sd: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Losses:
    """What a file says."""

    name: str
    adapters: tuple[str, ...]
    alone: Mapping[str, Loss]
    both: Mapping[tuple[str, str], Loss]
    base: Mapping[str, Loss]


def read_losses(ctx: Context, reference: str) -> Losses:
    """Read and check a file; nothing of it is guessed.

    Raises:
        UserError: too large, names that are unknown, equal, too long or too many, losses that are none, no loss of an
            adapter alone; each with its place in the document. FormatError: not such a document.
    """
    file: Opened = ctx.opened(reference, "losses")
    ctx.limits.check("losses-bytes", file.size, f"bytes of {visible(file.name)}", visible(file.name))
    where = visible(file.name)
    document = _parsed(file.read(), where)
    names = _names(document.get("adapters"), where, ctx)
    found: dict[tuple[str, tuple[str, ...]], Loss] = {}
    losses = document.get("losses")
    if isinstance(losses, dict):
        _of_map(cast("dict[str, Any]", losses), names, where, found)
    elif isinstance(losses, list):
        _of_list(cast("list[Any]", losses), names, where, found)
    else:
        raise FormatError(f"{where}: no losses", where="losses", expected="an object or a list", got=_said(losses))
    alone = {target: loss for (target, others), loss in found.items() if others == (target,)}
    for name in names:
        if name not in alone:
            raise UserError(
                f"{where}: nothing says what {_quoted(name)} loses alone",
                where=f"losses[{json.dumps(f'{name}|{name}')}]" if isinstance(losses, dict) else "losses",
                expected="the loss of every adapter alone on its own data, to compare with",
                code="no_diagonal",
            )
    both = {(t, next(o for o in others if o != t)): v for (t, others), v in found.items() if len(others) == FEWEST}
    base = {target: loss for (target, others), loss in found.items() if not others}
    return Losses(file.name, names, alone, both, base)


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = (
            next((key for number, key in enumerate(keys) if key in keys[:number]), None)
            if len(set(keys)) < len(keys)
            else None
        )
        if twice is not None:
            raise UserError(f"{where}: the key {_quoted(twice)} stands twice", where=_quoted(twice), code="duplicate")
        return dict(pairs)

    def no_number(text: str) -> Any:
        raise UserError(f"{where}: {text} is no loss", where=where, expected="finite numbers", code="not_finite")

    try:
        document = json.loads(data, object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not JSON", where=where, got=str(error)[:200]) from error
    if not isinstance(document, dict):
        raise FormatError(
            f"{where}: no object at the top", expected='{"adapters": […], "losses": …}', got=_said(document)
        )
    return cast("dict[str, Any]", document)


def _names(given: Any, where: str, ctx: Context) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise FormatError(f"{where}: no adapters", where="adapters", expected="a list of names", got=_said(given))
    return check_names(cast("list[Any]", given), ctx, "adapters", where)


def check_names(given: list[Any], ctx: Context, what: str, where: str) -> tuple[str, ...]:
    """Names of adapters: texts, not empty, no two alike, 2 to 16 of them.

    Raises:
        UserError: another kind of list.
    """
    names: list[str] = []
    for number, name in enumerate(given):
        place = f"{what}[{number}]"
        if not isinstance(name, str) or not name:
            raise UserError(f"{where}: {place} is no name", where=place, expected="a text", got=_said(name))
        ctx.limits.check("name-characters", len(name), f"characters of {place} in {where}", place)
        if name in names:
            raise UserError(
                f"{where}: {_quoted(name)} is the name of two adapters",
                where=f"{what}[{names.index(name)}] and {place}",
                code="duplicate",
            )
        names.append(name)
    ctx.limits.check("adapters", len(names), f"adapters of {where}", what)
    if len(names) < FEWEST:
        raise UserError(
            f"{where}: {len(names)} adapter{'s' * (len(names) != 1)}",
            where=what,
            expected=f"{FEWEST} to {ctx.limits['adapters']}: interference is between two",
            code="too_few_adapters",
        )
    return tuple(names)


def _of_map(
    losses: dict[str, Any], names: tuple[str, ...], where: str, found: dict[tuple[str, tuple[str, ...]], Loss]
) -> None:
    pairs: dict[str, list[tuple[str, str]]] = {}
    for target in names:
        for added in names:
            pairs.setdefault(f"{target}|{added}", []).append((target, added))
    for key, value in losses.items():
        place = f"losses[{json.dumps(key)}]"
        fits = pairs.get(key, [])
        if not fits:
            close = nearest(key, list(pairs))
            raise UserError(
                f"{where}: {_quoted(key)} is no pair of declared adapters",
                where=visible(place, 2 * SHOWN),
                expected='"TARGET|ADDED"',
                fix="did you mean " + ", ".join(map(_quoted, close)) + "?" if close else "declare it under adapters",
                code="unknown_adapter",
            )
        if len(fits) > 1:
            raise UserError(
                f"{where}: {_quoted(key)} can be read in {len(fits)} ways",
                where=visible(place, 2 * SHOWN),
                got="; ".join(f"{_quoted(a)} with {_quoted(b)}" for a, b in fits),
                fix='give losses as a list of {"target", "with", "loss"}',
                code="ambiguous",
            )
        target, added = fits[0]
        _put(found, (target, _together(target, added)), Loss(_loss(value, place, where)), place, where)


def _of_list(
    losses: list[Any], names: tuple[str, ...], where: str, found: dict[tuple[str, tuple[str, ...]], Loss]
) -> None:
    for number, given in enumerate(losses):
        place = f"losses[{number}]"
        if not isinstance(given, dict):
            raise UserError(f"{where}: {place} is no object", where=place, expected=", ".join(ENTRY), got=_said(given))
        entry = cast("dict[str, Any]", given)
        strange = next((key for key in entry if key not in ENTRY), None)
        if strange is not None:
            raise UserError(f"{where}: {place} has the key {_quoted(strange)}", where=place, expected=", ".join(ENTRY))
        target, others = entry.get("target"), entry.get("with")
        _known(target, names, f"{place}.target", where)
        if not isinstance(others, list):
            raise UserError(f"{where}: {place}.with is no list", where=f"{place}.with", got=_said(others))
        on = cast("list[Any]", others)
        for index, other in enumerate(on):
            _known(other, names, f"{place}.with[{index}]", where)
        if len(set(on)) < len(on) or len(on) > FEWEST or (on and target not in on):
            raise UserError(
                f"{where}: {place} is no loss of one adapter with one other",
                where=f"{place}.with",
                expected="[], [TARGET] or [TARGET, OTHER]",
                got=visible(json.dumps(on), 2 * SHOWN),
            )
        sd, n = entry.get("sd"), entry.get("n")
        if (sd is None) != (n is None):
            raise UserError(f"{where}: {place} has one of sd and n", where=place, expected="both, or neither")
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_ROWS):
            raise UserError(
                f"{where}: {place}.n is no count", where=f"{place}.n", expected=f"1 to {MOST_ROWS:,}", got=_said(n)
            )
        spread = None if sd is None else _loss(sd, f"{place}.sd", where, zero=True)
        loss = Loss(_loss(entry.get("loss"), f"{place}.loss", where), spread, n)
        key = tuple(sorted(set(cast("list[str]", on)))) if len(on) > 1 else tuple(cast("list[str]", on))
        _put(found, (cast(str, target), key), loss, place, where)


def _together(target: str, added: str) -> tuple[str, ...]:
    return (target,) if target == added else tuple(sorted((target, added)))


def _put(
    found: dict[tuple[str, tuple[str, ...]], Loss], key: tuple[str, tuple[str, ...]], loss: Loss, place: str, where: str
) -> None:
    if key in found:
        raise UserError(
            f"{where}: the loss on {_quoted(key[0])} with {', '.join(map(_quoted, key[1])) or 'the base'} stands twice",
            where=visible(place, 2 * SHOWN),
            code="duplicate",
        )
    found[key] = loss


def _known(name: Any, names: tuple[str, ...], place: str, where: str) -> None:
    if name in names:
        return
    close = nearest(name, list(names)) if isinstance(name, str) else []
    raise UserError(
        f"{where}: {_said(name)} is no declared adapter",
        where=place,
        expected="a name under adapters",
        fix="did you mean " + ", ".join(map(_quoted, close)) + "?" if close else None,
        code="unknown_adapter",
    )


def _loss(value: Any, place: str, where: str, zero: bool = False) -> float:
    number = finite_number(value)
    if number is None or number > LARGEST or not (number >= 0 if zero else number >= SMALLEST):
        raise UserError(
            f"{where}: {visible(place, 2 * SHOWN)} is no loss" if not zero else f"{where}: {place} is no spread",
            where=visible(place, 2 * SHOWN),
            expected=f"a number from {'0' if zero else f'{SMALLEST:g}, above 0,'} to {LARGEST:g}",
            got=_said(value),
            code="not_a_loss",
        )
    return number


def _quoted(name: str) -> str:
    return repr(visible(name, SHOWN))


def _said(value: Any) -> str:
    """A value of a file as an error may show it."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, list | dict) else type(value).__name__
    return visible(text, SHOWN)
