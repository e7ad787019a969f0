"""Parts of an order: which features a shard takes, who runs them, and how they become one run again. No torch.

Parts are run by processes here, by Ray, or by what another package registers in the entry-point group
`radiograph.runners`: a module with `run(parts, folder)`. A part is the options of one `radiograph intervene` as plain
data: `order`, the path of an order.json, `shard`, `i/n`, `seed`, and what this run was given besides. On another
machine these three are enough, where the files that the order names lie there too. The runner puts the finished run of
every part into `folder`, and returns their folders in any order. They are verified before they are believed.

A shard takes features whole, every n-th one: the dose of a feature is chosen on all of its discover rows. Batches
belong to a feature, so that merged rows equal those of one run on the same kind of device.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

from radiograph.core import Context, FormatError, RadiographError, UserError, nearest, package_of, plugins
from radiograph.evidence import document_sha256
from radiograph.evidence.interventions import Effects, InterventionOrder
from radiograph.methods._causal.guards import TABLE as GUARDS
from radiograph.methods._intervene.conclude import COSTS, ROWS, write_rows

RUNNERS: Final = "radiograph.runners"


@dataclass(frozen=True)
class Shard:
    """The number-th of many, from 1."""

    number: int
    many: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`.

        Raises:
            UserError: anything else.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"no shard {text!r}", expected="i/n with 1 <= i <= n", where="--shard", code="bad_value")
        return cls(int(match[1]), int(match[2]))

    def of(self, size: int) -> range:
        """Places of its features.

        Raises:
            UserError: it has none.
        """
        if self.number > size:
            raise UserError(
                f"shard {self.number}/{self.many} has nothing to do",
                expected=f"at most {size} shards, a feature each",
                where="--shard",
                code="bad_value",
            )
        return range(self.number - 1, size, self.many)


class Runner(Protocol):
    """What a runner's module offers."""

    def run(self, parts: Sequence[Mapping[str, Any]], folder: Path) -> Iterable[Path]:
        """Run every part into a folder below `folder`."""
        ...


def runner_of(name: str) -> Runner:
    """A runner by name.

    Raises:
        UserError: there is none; the nearest are named. FormatError: it cannot be used.
    """
    known = plugins(None, RUNNERS, "runner", ("run(parts, folder)",))
    if name not in known:
        close = nearest(name, list(known))
        raise UserError(
            f"no runner {name!r}",
            expected=", ".join(known) or "none is installed",
            where="--runner",
            fix=f"did you mean {', '.join(close)}?" if close else "--workers N or ray:N run parts without one",
            code="bad_value",
        )
    return cast(Runner, known[name]())


def handed_out(
    ctx: Context, runner: Runner, parts: Sequence[Mapping[str, Any]], order: InterventionOrder, name: str
) -> list[Path]:
    """The finished runs of all parts.

    Raises:
        UserError: runs elsewhere, unfinished, changed, or of another order. RadiographError: the runner failed.
    """
    home = ctx.output.folder("steps")
    with ctx.measure(f"runner {name}"):
        try:
            made = [Path(one) for one in runner.run([{**part, "seed": ctx.seed} for part in parts], home)]
        except RadiographError:
            raise
        except Exception as error:
            owner = package_of(RUNNERS, name)
            raise RadiographError(f"the runner {name!r} of {owner} failed: {type(error).__name__}: {error}") from error
    outside = [one.name for one in made if home.resolve() not in one.resolve().parents or not one.is_dir()]
    if outside or not made:
        raise UserError(
            f"the runner {name!r} returned what is no run of a part",
            expected="folders inside the one that it was given",
            got=", ".join(outside) or "nothing",
            code="not_intact",
        )
    for folder in made:
        _require_intact(folder, ctx)
        if (own := _effects(folder).order_sha256) != document_sha256(order):
            raise UserError(f"{folder.name} is a part of another order", expected=document_sha256(order), got=own)
    return made


def read_order(path: Path) -> InterventionOrder:
    """An `order.json`.

    Raises:
        UserError: no such file. FormatError: not an order.
    """
    if not path.is_file():
        raise UserError(f"{path.name} is not a file", expected="the order.json of --order-only", code="not_found")
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path.name} is not JSON", got=str(error)) from error
    return InterventionOrder.read(document, where=path.name)


def require_same(order: InterventionOrder, stored: InterventionOrder) -> None:
    """Refuse options, prompts or a model that would make another order.

    Raises:
        UserError: the first field that differs.
    """
    # What makes them may be spelled in two ways.
    held = stored.model_copy(update={"options": order.options})
    if held == order:
        return
    name = next(k for k in InterventionOrder.model_fields if getattr(held, k) != getattr(order, k))
    raise UserError(
        f"these options are not those of the order: another {name}",
        expected=str(getattr(held, name))[:200],
        got=str(getattr(order, name))[:200],
        fix="give the options, prompts, model and seed that the order was made with",
        code="another_order",
    )


def merged(ctx: Context, runs: Sequence[str]) -> InterventionOrder:
    """Write the tables of all shards into this run; the order that they share.

    Raises:
        UserError: a shard that is unfinished, or was changed since it ended. Others as `put_together`.
    """
    folders = [ctx.path(run, f"merge.{number}") for number, run in enumerate(runs)]
    for folder in folders:
        _require_intact(folder, ctx)
    return put_together(folders, ctx.output.folder("tables"))


def _require_intact(folder: Path, ctx: Context) -> None:
    checked = ctx.service("verify")(folder)
    if checked.status != "intact":
        first = checked.problems[0] if checked.problems else None
        raise UserError(
            f"{folder.name} is {checked.status}, so it is not merged",
            where=folder.name,
            got=None if first is None else f"{first.path}: {first.text}",
            fix="run the shard again",
            code="not_intact",
        )


def put_together(folders: Sequence[Path], to: Path) -> InterventionOrder:
    """The tables of all shards as those of one run; the order that they share.

    Raises:
        UserError: shards of several orders, or a feature that no shard has. FormatError: two shards that disagree.
    """
    import polars as pl

    from radiograph.store.interventions import read_interventions

    order: InterventionOrder | None = None
    rows: dict[str, pl.DataFrame] = {}
    costs: dict[str, pl.DataFrame] = {}
    guards: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        result = _effects(folder)
        digest = document_sha256(result.order)
        if digest != result.order_sha256:
            raise FormatError(
                "the order is not that of its hash", expected=result.order_sha256, got=digest, where=folder.name
            )
        if order is not None and document_sha256(order) != digest:
            raise UserError(f"{folder.name} is a shard of another order", expected=document_sha256(order), got=digest)
        order = result.order
        table = read_interventions(folder / "tables" / f"{ROWS}.parquet").table.drop("row")
        spent = pl.read_parquet(folder / "tables" / f"{COSTS}.parquet")
        path = folder / "tables" / f"{GUARDS}.parquet"
        answers = pl.read_parquet(path) if path.is_file() else None
        owner = pl.coalesce("control_of", "feature_id")
        for one in result.features:
            own = table.filter(owner == one.feature)
            cost = spent.filter(pl.col("feature_id") == one.feature)
            known = rows.get(one.feature)
            if known is not None and not (
                known.equals(own, null_equal=True) and costs[one.feature].equals(cost, null_equal=True)
            ):
                raise FormatError(
                    f"two shards measured {one.feature} and disagree",
                    where=folder.name,
                    fix="leave one of them out, or run the feature again",
                    code="conflict",
                )
            rows[one.feature] = own
            costs[one.feature] = cost
            if answers is not None:
                guards[one.feature] = answers.filter(pl.col("feature_id") == one.feature).to_dicts()
    assert order is not None, "the caller has at least one run"
    missing = [one for one in order.features if one.feature not in rows]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(order.features)} features are in none of the shards",
            got=", ".join(f"{one.id} {one.feature}" for one in missing[:5]),
            fix="run the missing shards too",
            code="missing_shards",
        )
    names = [one.feature for one in order.features]
    spent = pl.concat([costs[name] for name in names]).to_dicts()
    answered = [row for name in names for row in guards.get(name, ())]
    write_rows(to, pl.concat([rows[name] for name in names]), spent, answered)
    return order


def _effects(folder: Path) -> Effects:
    path = folder / "result.json"
    if not path.is_file():
        raise UserError(f"{folder.name} is no run", expected="a run of `intervene --shard`", code="no_run")
    result = Effects.read(json.loads(path.read_bytes()), where=f"{folder.name}/result.json")
    if result.planned:
        raise UserError(f"{folder.name} only planned", fix="run it without --order-only", code="no_run")
    return result
