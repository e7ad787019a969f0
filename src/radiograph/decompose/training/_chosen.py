"""Which weights are decomposed, and into how many components: `GLOB=C`, identities `WEIGHT=C`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from radiograph.core import UserError, nearest
from radiograph.core.components import canonical_weight, in_order
from radiograph.models.masked import Target


def chosen(
    target: Target, globs: Sequence[str], identities: Sequence[str] = (), *, tie: bool = False
) -> dict[str, int]:
    """Weight to number of components, in forward order.

    Raises:
        UserError: a glob that matches nothing, two globs of one weight, fewer than one component, two addresses of one
            stored matrix without `tie`.
    """
    sizes: dict[str, int] = {}
    by: dict[str, str] = {}
    for text in globs:
        glob, count = _read(text, "--weights")
        matches = [address for address in target.places if fnmatchcase(address, glob)]
        if not matches:
            close = nearest(glob, list(target.places))
            raise UserError(
                f"--weights {text}: no weight of {target.name} matches",
                expected="one of " + ", ".join(target.places),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_weight",
            )
        for address in matches:
            _add(sizes, by, address, count, text)
    for text in identities:
        weight, count = _read(text, "--identity")
        inner = canonical_weight(weight).removeprefix("identity.")
        _add(sizes, by, target.place(f"identity.{inner}").address, count, text)
    if not sizes:
        raise UserError(
            "no weight is to be decomposed", expected="--weights GLOB=C", got="none", fix="--weights 'up.*=64'"
        )
    _refuse_ties(target, sizes, tie)
    return {address: sizes[address] for address in in_order(sizes)}


def _read(text: str, option: str) -> tuple[str, int]:
    glob, equals, number = text.rpartition("=")
    if not equals or not number.isdecimal() or int(number) < 1:
        raise UserError(
            f"{option} {text}", expected="GLOB=C with C >= 1, as 'down.*=512'", got=repr(number), code="bad_value"
        )
    return glob.strip(), int(number)


def _add(sizes: dict[str, int], by: dict[str, str], address: str, count: int, text: str) -> None:
    if address in sizes:
        raise UserError(
            f"{address} is chosen twice",
            got=f"{by[address]!r} and {text!r}",
            fix="let globs not overlap",
            code="chosen_twice",
        )
    sizes[address], by[address] = count, text


def _refuse_ties(target: Target, sizes: dict[str, int], tie: bool) -> None:
    owner: dict[str, str] = {}
    for address in sizes:
        parameter = target.place(address).parameter
        if parameter in owner and not tie:
            raise UserError(
                f"{address} and {owner[parameter]} are one stored matrix",
                expected="one of the two, or --tie to decompose each use of it by itself",
                got=parameter,
                fix=f"leave {address} out",
                code="tied_weights",
            )
        owner[parameter] = address
