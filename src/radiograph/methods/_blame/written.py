"""What a run of `blame` holds while it goes on, and what it writes: tables, the leading rows, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context
from radiograph.evidence.influence import BehaviourRecord, Blame, BlamedRow, BlameValidation, GroupRecord, Learnt
from radiograph.methods._blame import conclude

if TYPE_CHECKING:
    from radiograph.methods._blame.conclude import Ranking
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.scores import Options, Scored
    from radiograph.methods._blame.targets import Measured, Targets
    from radiograph.models import Pair
    from radiograph.models.gradients import Tracked

LISTED = 100
PARTS = 5
TOKENS = 256


@dataclass
class Study:
    """Models, rows and targets of a run, and what was measured before gradients."""

    labels: tuple[str, str, str]
    """Reference, candidate, data."""
    pair: Pair
    data: Data
    targets: Targets
    found: Measured
    matrices: tuple[Tracked, ...]
    patterns: tuple[str, ...]
    table: dict[str, list[Any]]
    """A line for each of `data.rows`."""
    learnt: Learnt
    behaviour: BehaviourRecord
    weights: tuple[float, float] | None
    """Of text and of prompts in the loss, by the recipe."""
    stamps: list[str] = field(default_factory=list)

    @property
    def drop(self) -> np.ndarray:
        """loss(reference) − loss(candidate) of each row."""
        return np.asarray(self.table["drop"])

    @property
    def words(self) -> np.ndarray:
        """Word overlap of each row with the targets."""
        return np.asarray(self.table["words"])

    def kept(self, data: Data) -> Study:
        """The same with some of the rows."""
        places = {row.place for row in data.rows}
        inside = [i for i, place in enumerate(self.table["row"]) if place in places]
        return replace(self, data=data, table={k: [v[i] for i in inside] for k, v in self.table.items()})


def prepared_table(pair: Pair, data: Data, targets: Targets) -> dict[str, list[Any]]:
    """What is known of each row without a gradient."""
    from radiograph.methods._blame.targets import nats
    from radiograph.numerics.influence import bm25

    rows = [row.learned for row in data.rows]
    lengths = np.array([len(row.ids) - row.start for row in data.rows])
    losses = [nats(model, rows) / lengths for model in (pair.reference, pair.candidate)]
    return {
        "row": [row.place for row in data.rows],
        "line": [row.line for row in data.rows],
        "id": [row.id for row in data.rows],
        "row_sha256": [row.sha256 for row in data.rows],
        "tokens": lengths.tolist(),
        "loss_reference": losses[0].tolist(),
        "loss_candidate": losses[1].tolist(),
        "drop": (losses[0] - losses[1]).tolist(),
        "words": bm25([row.words for row in data.rows], targets.words).tolist(),
        "tie": data.ties.tolist(),
    }


def target_table(targets: Targets, found: Measured) -> dict[str, list[Any]]:
    """The f of every target under both models."""
    preferred = [None] * len(found.reference) if found.preferred is None else found.preferred.tolist()
    return {
        "target": list(range(len(found.reference))),
        "group": targets.groups.tolist(),
        "f_reference": found.reference.tolist(),
        "f_candidate": found.candidate.tolist(),
        "preferred": preferred,
    }


@dataclass
class Report:
    """The leading rows, in order."""

    ranking: Ranking
    wanted: np.ndarray
    """Numbers of the leading rows in `data.rows`."""
    rows: list[BlamedRow]
    places: list[int]
    """Places of all rows in the file, the leading one first."""
    groups: tuple[GroupRecord, ...]
    gap: float | None = None

    @classmethod
    def of(cls, study: Study, made: Scored, options: Options, top_k: int, ctx: Context) -> Report:
        """Write the tables and describe the leading rows, but for their tokens."""
        from radiograph.methods._blame import scores

        method = options.methods[0]
        table = dict(study.table)
        table["norm"] = made.norms.tolist()
        for name in options.methods:
            table[f"score_{name}"] = made.scores[name][:, 0].tolist()
            table[f"relative_{name}"] = made.relative(name).max(1).tolist()
        table["energy"] = made.energies[method].tolist()
        for group in range(made.scores[method].shape[1] - 1):
            table[f"group_{group:02d}"] = made.scores[method][:, 1 + group].tolist()
        # In the order of the file from here on: what `verify` reads gives the same sums, to the last bit.
        numbers = np.argsort(np.asarray(table["row"]), kind="stable")
        table = {name: [values[i] for i in numbers.tolist()] for name, values in table.items()}
        ranking = conclude.ranking(table, method, options.methods, options.rank)
        leading = ranking.order[:top_k]
        wanted = numbers[leading]
        with ctx.measure("leading rows"):
            groups = group_records(study.targets, made.lengths[method])
            parts = scores.by_matrix(made, method, wanted)
        if parts and parts[0]:
            ctx.output.table(
                "matrices",
                {"row": [table["row"][i] for i in leading.tolist()]}
                | {name: [part[name] for part in parts] for name in parts[0]},
            )
        ctx.output.table("rows", table)
        ctx.output.table("targets", target_table(study.targets, study.found))
        ctx.output.table("unscored", {"line": list(study.data.unscored)})
        relative = conclude.relative_groups(table, [group.length for group in groups])
        rows = [
            described(table, ranking, place, method, relative[place]).model_copy(
                update={
                    "text": study.data.rows[i].shown,
                    "shard": i // options.shard_rows,
                    "weights": largest(parts[number]),
                }
            )
            for number, (place, i) in enumerate(zip(leading.tolist(), wanted.tolist(), strict=True))
        ]
        if options.rank == "score" and (said := loud(table, ranking, leading)) is not None:
            study.stamps.append(said)
        return cls(ranking, wanted, rows, [table["row"][i] for i in ranking.order.tolist()], groups)

    def tokens(self, study: Study, made: Scored, options: Options, ctx: Context) -> None:
        """Tokens of the leading rows; needs the model without hooks."""
        from radiograph.methods._blame.scores import token_scores
        from radiograph.models import token_text
        from radiograph.models.gradients import on_path

        method = options.methods[0]
        with on_path(study.pair, options.at) as model:
            found = token_scores(model, made, method, study.data, self.wanted, options.reduction)
        table: dict[str, list[Any]] = {"row": [], "parts": []}
        for number, (row, parts) in enumerate(zip(self.rows, found, strict=True)):
            if not len(parts):
                continue
            table["row"].append(row.row)
            table["parts"].append([float(part) for part in parts])
            ids = study.data.rows[self.wanted[number]].ids
            texts = [token_text(model.tokenizer, i) for i in ids[:TOKENS]]
            values, more, rest = of_tokens(table["parts"][-1])
            shown = tuple(zip(texts, values, strict=True))
            self.rows[number] = row.model_copy(update={"tokens": shown, "more_tokens": more, "more_score": rest})
        if table["row"]:
            ctx.output.table("tokens", table)
        self.gap = token_gap(self.rows, table)

    def result(self, study: Study, made: Scored, options: Options, check: BlameValidation | None) -> Blame:
        """The evidence."""
        reference, candidate, data = study.labels
        return Blame(
            reference=reference,
            candidate=candidate,
            data=data,
            data_sha256=study.data.sha256,
            method=options.methods[0],  # type: ignore[arg-type]
            rank=options.rank,
            point=made.point,  # type: ignore[arg-type]
            methods=options.methods,  # type: ignore[arg-type]
            rows=study.data.count,
            rows_scored=len(study.data.rows),
            unscored=study.data.unscored[:LISTED],
            unscored_count=len(study.data.unscored),
            truncated=study.data.truncated,
            loss=options.reduction,
            loss_weights=study.weights,
            target=study.behaviour,
            groups=self.groups,
            learnt=study.learnt,
            matrices=len(study.matrices),
            weights=tuple(m.name for m in study.matrices[:LISTED]),
            patterns=study.patterns,
            entries=made.projection.layout.size,
            projection=made.compared,
            top=tuple(self.rows),
            token_gap=self.gap,
            agreement=self.ranking.agreement,
            validation=check,
            stamps=tuple(dict.fromkeys(study.stamps)),
        )


def of_tokens(parts: Sequence[float]) -> tuple[list[float], int, float]:
    """Of the parts of a row's tokens those that are listed, and of the rest how many and their sum."""
    rest = parts[TOKENS:]
    return list(parts[:TOKENS]), len(rest), float(np.sum(rest))


def token_gap(rows: Sequence[BlamedRow], table: Mapping[str, Sequence[Any]]) -> float | None:
    """The largest difference between a score and the sum over its tokens, in largest scores."""
    parts = dict(zip(table["row"], table["parts"], strict=True))
    gaps = [abs(float(np.sum(parts[row.row])) - row.score) for row in rows if row.row in parts]
    most = max((abs(row.score) for row in rows), default=0.0)
    return max(gaps) / most if gaps and most > 0 else None


LEADERS, LOUD = 20, 0.8


def loud(table: conclude.Columns, ranking: Ranking, leading: np.ndarray) -> str | None:
    """A remark where rows lead by their scores that have large gradients whatever is asked; relative ones do not."""
    share = 1 - (np.median(ranking.ranks["norm"][leading[:LEADERS]]) - 1) / max(1, len(table["row"]) - 1)
    if share <= LOUD:
        return None
    return (
        f"loud_rows: the leading rows have larger gradients than {share:.0%} of all rows; rows that were learned by "
        "heart have almost none: compare the order by cosine"
    )


def group_records(targets: Targets, lengths: np.ndarray) -> tuple[GroupRecord, ...]:
    """The groups of targets. `lengths`: of all targets together, and of each group."""
    numbers = targets.groups
    first = [int(np.flatnonzero(numbers == g)[0]) for g in range(numbers.max() + 1)]
    return tuple(
        GroupRecord(n=int((numbers == g).sum()), length=float(lengths[1 + g]), example=targets.shown(first[g]))
        for g in range(len(first))
    )


def described(table: conclude.Columns, ranking: Ranking, i: int, method: str, relative: np.ndarray) -> BlamedRow:
    """What the table says of one row. `relative`: of each group."""
    return BlamedRow(
        row=table["row"][i],
        line=table["line"][i],
        id=table["id"][i],
        row_sha256=table["row_sha256"][i],
        text="",
        score=table[f"score_{method}"][i],
        interval=ranking.intervals[i],
        relative=float(relative.max()),
        group=int(relative.argmax()),
        others=(float(relative.min()), float(relative.mean())),
        rank={name: int(places[i]) for name, places in ranking.ranks.items()},
        loss=table["loss_candidate"][i],
        drop=table["drop"][i],
    )


def largest(parts: dict[str, float]) -> dict[str, float]:
    """The matrices of the largest parts of a score."""
    named = sorted(parts.items(), key=lambda item: (-abs(item[1]), item[0]))[:PARTS]
    return dict(named)
