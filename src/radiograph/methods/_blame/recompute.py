"""What follows from the tables of a run, derived again: order, ranks, intervals, what was learned, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, Refusal, derive
from radiograph.evidence.influence import Blame
from radiograph.methods._blame import conclude, targets, validate
from radiograph.methods._blame.written import LISTED, described, largest, of_tokens, token_gap
from radiograph.store import Bundle

SUMS = 1e-3
"""Of the largest score: by how much the parts of a score may miss it, which are products of their own in float32."""


def differences(stored: Blame, folder: Path) -> list[str]:
    """What does not follow; empty where all does."""
    table = _table(folder, "rows")
    said: list[str] = []
    if len(table["row"]) != stored.rows_scored:
        said.append(f"/rows_scored is {stored.rows_scored}, tables/rows.parquet holds {len(table['row'])}")
    ranking = conclude.ranking(table, stored.method, stored.methods, stored.rank)
    relative = conclude.relative_groups(table, [group.length for group in stored.groups])
    if not np.array_equal(relative.max(1), np.asarray(table[f"relative_{stored.method}"])):
        said.append("relative scores do not follow from those of groups, their lengths and the energies of rows")
    order = ranking.order[: len(stored.top)].tolist()
    for number, (row, i) in enumerate(zip(stored.top, order, strict=False)):
        again = described(table, ranking, i, stored.method, relative[i])
        kept = row.model_copy(update={"text": "", **NOT_HERE})
        if again != kept:
            said.append(f"/top/{number} is not what tables/rows.parquet gives: line {again.line}, score {again.score}")
    if stored.agreement != ranking.agreement:
        said.append("/agreement does not follow from tables/rows.parquet")
    said += _before(stored, table, folder)
    return said + _asked(stored, table, folder) + _parts(stored, folder) + _validation(stored, table, folder)


def _asked(stored: Blame, table: dict[str, Any], folder: Path) -> list[str]:
    """What the configuration, the targets and the list of unscored rows say of the record."""
    config = Bundle(folder).manifest.config
    own, lines = _table(folder, "targets"), _table(folder, "unscored")["line"]
    methods = stored.methods
    if config["method"] is not None:
        named = [name.strip() for name in config["method"].split(",") if name.strip()]
        methods = tuple(dict.fromkeys((*named, "dot", "cosine")))
    groups = np.bincount(own["group"]).tolist()
    again = {
        "methods": methods,
        "rank": config["rank"],
        "loss": config["loss"],
        "data": config["data"],
        "candidate": config["candidate"] or stored.candidate,
        "unscored": tuple(lines[: len(stored.unscored)]),
        "unscored_count": len(lines),
    }
    said = [
        f"/{name} is {getattr(stored, name)}, not {value}"
        for name, value in again.items()
        if getattr(stored, name) != value
    ]
    if len(stored.top) != min(config["top_k"], len(table["row"])):
        said.append(f"/top holds {len(stored.top)} rows, {min(config['top_k'], len(table['row']))} were to be shown")
    if [group.n for group in stored.groups] != groups:
        said.append(f"/groups do not hold the targets that tables/targets.parquet gives: {groups}")
    if config["at"] is not None and stored.point.at != config["at"] and stored.method != "tracin":
        said.append(f"/point/at is {stored.point.at}, not {config['at']}")
    return said


def _parts(stored: Blame, folder: Path) -> list[str]:
    """Parts of the leading scores by matrix and by token: what is listed, and that they add up."""
    matrices, tokens = _beside(folder, "matrices"), _beside(folder, "tokens")
    said: list[str] = []
    names = [name for name in matrices if name != "row"]
    if names and (tuple(names[:LISTED]), len(names)) != (stored.weights, stored.matrices):
        said.append("/weights and /matrices are not those of tables/matrices.parquet")
    if stored.method != "tracin" and (not names or not tokens):
        said.append("tables/matrices.parquet or tables/tokens.parquet is missing")
    by_row = {row: {name: matrices[name][i] for name in names} for i, row in enumerate(matrices.get("row", ()))}
    by_token = dict(zip(tokens.get("row", ()), tokens.get("parts", ()), strict=True))
    most = max((abs(row.score) for row in stored.top), default=0.0)
    if names and matrices["row"] != [row.row for row in stored.top]:
        said.append("tables/matrices.parquet does not hold the leading rows, in their order")
    for number, row in enumerate(stored.top):
        own = by_row.get(row.row, {})
        if largest(own) != row.weights:
            said.append(f"/top/{number}/weights are not the largest parts in tables/matrices.parquet")
        if own and abs(sum(own.values()) - row.score) > SUMS * most:
            said.append(f"/top/{number}: its parts by matrix add up to {sum(own.values())}, its score is {row.score}")
        values, more, rest = of_tokens(by_token.get(row.row, ()))
        if ([value for _, value in row.tokens], row.more_tokens, row.more_score) != (values, more, rest):
            said.append(f"/top/{number}/tokens are not those of tables/tokens.parquet")
    gap = token_gap(stored.top, tokens or {"row": (), "parts": ()})
    if gap != stored.token_gap:
        said.append(f"/token_gap is {stored.token_gap}, the tokens of the leading rows give {gap}")
    return said


NOT_HERE = {"shard": 0, "weights": {}, "tokens": (), "more_tokens": 0, "more_score": 0.0}
"""Of a leading row, what no table holds."""


def _before(stored: Blame, table: dict[str, Any], folder: Path) -> list[str]:
    """Whether rows were learned and the behaviour is there."""
    said: list[str] = []
    sampled = any(stamp.startswith("sampled") for stamp in stored.stamps)
    learnt = stored.learnt if sampled else conclude.learnt(table, Bundle(folder).manifest.seed)
    if learnt != stored.learnt:
        said.append(f"/learnt/drop is {stored.learnt.drop}, tables/rows.parquet gives {learnt.drop}")
    own = _table(folder, "targets")
    preferred = None if own["preferred"][0] is None else np.asarray(own["preferred"], dtype=bool)
    found = targets.Measured(
        np.asarray(own["f_reference"]), np.asarray(own["f_candidate"]), preferred, stored.target.rival
    )
    behaviour = targets.behaviour(
        stored.target.kind, found, max(own["group"]) + 1, stored.target.given, stored.target.read
    )
    if behaviour != stored.target:
        said.append(f"/target/gain is {stored.target.gain}, tables/targets.parquet gives {behaviour.gain}")
    refusals: list[Refusal] = [r for r in (conclude.unlearned(learnt), targets.absent(behaviour)) if r is not None]
    stamped = [stamp.partition(":")[0] for stamp in stored.stamps]
    return said + [f"{r.code} holds and is not stamped" for r in refusals if r.code not in stamped]


def _validation(stored: Blame, table: dict[str, Any], folder: Path) -> list[str]:
    """Whether it was asked for, and what its copies say."""
    manifest = Bundle(folder).manifest
    asked = validate.Asked.parse(manifest.config["validate_"])
    check = stored.validation
    if check is None:
        excused = any(stamp.startswith("self_check_not_learned") for stamp in stored.stamps)
        there = asked.kind == "none" or (asked.kind == "self-check" and excused)
        return [] if there else [f"/validation is not there, and {asked.kind} was asked for"]
    if check.kind != asked.kind:
        return [f"/validation is of {check.kind}, and {asked.kind} was asked for"]
    if check.kind == "self-check":
        own = check.model_dump(include={"k", "recall", "recall_intervals", "chance"})
        again = check.model_copy(update=validate.recalls(_table(folder, "validation")))
        return [] if again.model_dump(include=set(own)) == own else ["/validation is not what its table gives"]
    copies = _table(folder, "validation")
    if check.kind == "leave-out":
        k = asked.n or min(manifest.config["top_k"], max(1, int(validate.TOP_SHARE * len(table["row"]))))
        again = validate.left_out(copies, k, stored.target.f_candidate)
        return [] if again == check else [f"/validation/delta_f is {check.delta_f}, its table gives {again.delta_f}"]
    return _halves(stored, table, copies, folder)


def _halves(stored: Blame, table: dict[str, Any], copies: dict[str, Any], folder: Path) -> list[str]:
    """The halves again, and how the scores of every method foretell them."""
    from radiograph.numerics.influence import lds

    check = stored.validation
    assert check is not None, "looked at by `_validation`"
    groups = len(stored.groups)
    count = len(copies["half"]) // groups
    wanted = [(half, group) for half in range(count) for group in range(groups)]
    if list(zip(copies["half"], copies["group"], strict=True)) != wanted or count != check.n:
        return [f"/validation/n is {check.n}, tables/validation.parquet has not every half once"]
    place = {row: number for number, row in enumerate(table["row"])}
    kept = np.zeros((count, len(place)), dtype=bool)
    for half, rows in zip(copies["half"], copies["rows"], strict=True):
        kept[half, [place[row] for row in rows]] = True
    if any(int(kept[half].sum()) != len(place) // 2 for half in range(count)):
        return ["tables/validation.parquet: a half does not hold half of the rows"]
    parts = _table(folder, "validation_scores")
    if sorted(parts["row"]) != table["row"]:
        return ["tables/validation_scores.parquet does not hold the rows"]
    # In its own order: sums over halves end in the same last bit.
    kept = kept[:, [place[row] for row in parts["row"]]]
    outcome = np.asarray(copies["f"], dtype=np.float64).reshape(count, groups)
    said: list[str] = []
    for method in stored.methods:
        values = np.stack([np.asarray(parts[f"{method}_{g:02d}"]) for g in range(groups)], axis=1)
        own = [table[f"group_{g:02d}"] for g in range(groups)]
        if method == stored.method and not np.array_equal(
            values[np.argsort(parts["row"])], np.stack([np.asarray(one) for one in own], axis=1)
        ):
            said.append("tables/validation_scores.parquet holds other scores than tables/rows.parquet")
        estimate, ends, _ = lds(values, kept, outcome, seed=derive(Bundle(folder).manifest.seed, "lds"))
        if not np.allclose(check.lds.get(method, (2.0,) * 3), (estimate, ends.low, ends.high), atol=1e-9):
            said.append(f"/validation/lds/{method} does not follow from the halves")
    if set(check.lds) != set(stored.methods) or (check.k, check.delta_f, check.causal) != (None, None, None):
        said.append("/validation holds more or less than halves give")
    return said


def _beside(folder: Path, name: str) -> dict[str, Any]:
    """A table that not every method has."""
    return _table(folder, name) if (folder / "tables" / f"{name}.parquet").is_file() else {}


def as_written(stored: Blame) -> list[str]:
    """What needs the rows, the models or their gradients."""
    return ["texts of rows and tokens", "what was read: counts of rows and entries, the point, weights of the loss"]


def _table(folder: Path, name: str) -> dict[str, Any]:
    import polars as pl

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise FormatError(f"{path.name} is missing", where=f"tables/{path.name}")
    return pl.read_parquet(path).to_dict(as_series=False)
