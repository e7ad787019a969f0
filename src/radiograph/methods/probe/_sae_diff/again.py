"""What `verify` derives again from the tables of a run: counts, p against the null that is shown, q, the rows that are
listed and their order, coefficients, shares and their intervals, drifts, FVU and demands. What needs the activations
themselves is kept in the tables and not derived: sums of groups, rates, errors of tokens.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.methods.dictionary._evaluation import requirements
from radiograph.methods.probe._sae_diff import remeasured
from radiograph.methods.probe._sae_diff.sample import LEFT, RANDOM, Rebuilt, compared, thinned
from radiograph.numerics.multiplicity import q_values
from radiograph.numerics.shifts import (
    LEAST_GROUPS,
    LEVEL,
    Design,
    Paired,
    Unpaired,
    explained,
    seen_null,
    shift_length_of,
)
from radiograph.store import Bundle

EXACT, ROUNDED = 1e-9, 1e-4
BINS, WIDEST = 80, 10.0
"""Of the null: bins of √T from 0 to here, and one above."""
COPIED = ("shift", "t", "effect", "p", "q", "t_rate", "rate_ref", "rate_cand", "mean_ref", "mean_cand", "delta")
COUNTED = ("turned_on", "turned_off")
Columns = dict[str, np.ndarray]


def problems(result: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its tables say."""
    import polars

    manifest = Bundle(folder).manifest
    config = manifest.config
    tables = {
        path.stem: {c.name: c.to_numpy() for c in polars.read_parquet(path)}
        for path in (folder / "tables").glob("*.parquet")
    }
    found: list[str] = []
    _of_config(found, result, config)
    features, groups = tables["features"], tables["groups"]
    _same(found, "features", len(features["feature"]), result["features"])
    if not np.array_equal(features["feature"], np.arange(len(features["feature"]))):
        return [*found, "tables/features.parquet has not every feature once"]
    counts = groups["tokens"]
    design: Design = Paired(counts, config["permutations"], manifest.seed)
    if config["paired"] == "off":
        design = Unpaired(counts, len(counts) // 2, config["permutations"], manifest.seed)
    if not np.array_equal(design.weights[0], groups["weight"]):
        found.append("the weights of groups do not follow from their tokens")
    _counts(found, result, design, config)
    _carried(found, result, tables, design, manifest.seed)
    if result["kind"] == "crosscoder":
        _written(found, result, features)
    else:
        _features(found, result, features, design)
        _listed(found, result, features, config)
        _drift(found, result, tables, design)
        _sample(found, result, tables, config, manifest.seed)
    _gaps(found, result)
    found += _demands(result, config)
    # The dictionary says nothing more of what its own tables do not give.
    held = None if found else remeasured.at_hand(result, config, remeasured.sums_of(tables, "read").shape[1])
    return (
        found
        if held is None
        else remeasured.problems(held, result, tables, design, manifest.seed, remeasured.in_folder(config))
    )


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """What needs the activations, and without the dictionary what needs that."""
    import polars

    names = [folder / "tables" / f"{name}.parquet" for name in ("read", "written")]
    width = polars.read_parquet(next(path for path in names if path.is_file())).height
    said = ["codes of features"] if any(row.get("rate_ref") is not None for row in result["shown"]) else []
    said += ["random dictionaries"] if result["shares"]["outside_random"] else []
    labels = any(row["label"] is not None for row in (*result["carried"], *result["shown"], *result["changes"]))
    said += ["labels"] if labels else []
    if remeasured.at_hand(result, Bundle(folder).manifest.config, width) is None:
        said.append(
            f"the search, its sham and the null (the dictionary {result['dictionary']} is not at hand as it was)"
        )
    return [*said, "names of both sides and of their site"]


def _gaps(found: list[str], result: dict[str, Any]) -> None:
    """What is not measured is said once, and only that; what is said stands beside what it needs."""
    rows = (*result["carried"], *result["shown"], *result["changes"])
    if any((row["label"] is None) != (row["label_source"] is None) for row in rows):
        found.append("a label stands without its source, or a source without its label")
    said = [gap["what"] for gap in result["not_measured"]]
    expected = {"l2, share_seen": result["l2"] is None, "effect": result["effect_rms"] is None}
    if result["kind"] == "crosscoder":
        expected = {}
    expected |= {"tests": result["moved"]["count"] is None and "few_groups" in result["stamps"]}
    found += [
        f"not_measured says {what!r} {said.count(what)} times"
        for what, gap in expected.items()
        if said.count(what) != gap
    ]
    if len(set(said)) < len(said):
        found.append("not_measured says one thing twice")


def _of_config(found: list[str], result: dict[str, Any], config: dict[str, Any]) -> None:
    depth = "full" if config["schema_"] == "soup" else config["depth"]
    _same(found, "depth", depth, result["depth"])
    _same(found, "moved.level", config["q"], result["moved"]["level"])
    _same(found, "dictionary", config["dictionary"], result["dictionary"])


def _counts(found: list[str], result: dict[str, Any], design: Design, config: dict[str, Any]) -> None:
    n = result["n"]
    off = config["paired"] == "off"
    own = (int(design.counts[len(design.counts) // 2 :].sum()), int(design.counts[: len(design.counts) // 2].sum()))
    tokens = own if off else (int(design.counts.sum()),) * 2
    _same(found, "n.tokens", tokens, (n["tokens"], n["tokens_cand"]))
    _same(found, "n.merged", design.groups, n["merged"])
    if n["groups"] < (design.groups // 2 if off else design.groups):
        found.append("n.groups is less than the groups that were merged")
    if n["codes"] not in (0, *tokens, sum(tokens)):
        found.append("n.codes is not the tokens of a side")
    few = design.groups < LEAST_GROUPS and result["kind"] != "crosscoder"
    _same(found, "the stamp few_groups", few, "few_groups" in result["stamps"])


def _features(found: list[str], result: dict[str, Any], features: Columns, design: Design) -> None:
    """Statistics, p against the histogram of the null, q and counts."""
    root = np.sqrt(features["statistic"])
    _same(found, "largest", float(root.max(initial=0)), result["largest"], ROUNDED)
    # Where groups were merged, t is over all of them and the statistic over the merged ones.
    known = np.isfinite(features["t"]) & (isinstance(design, Paired) and design.groups == result["n"]["groups"])
    if (root[known] < np.abs(features["t"][known]) * (1 - ROUNDED) - 1e-12).any():
        found.append("the statistic of a feature is less than its t")
    if "effect" in features:
        rms = float(np.sqrt(np.square(features["effect"]).mean()))
        if (np.sign(features["effect"]) * np.sign(features["shift"]) < 0).any():
            found.append("an effect is of another sign than its shift")
        _same(found, "effect_rms", rms, result["effect_rms"])
    elif result["effect_rms"] is not None:
        found.append("effect_rms does not follow from the tables")
    moved, null = result["moved"], np.asarray(result["null"], dtype=np.int64)
    if design.groups < LEAST_GROUPS:
        _same(found, "moved", (None, None), (moved["count"], moved["sham"]))
        return
    total = design.flips * len(root)
    _same(found, "null", (BINS + 1, total), (len(null), int(null.sum())))
    # How many of the pool lie above √T is known up to the bin that it falls into.
    above = np.append(np.cumsum(null[::-1])[::-1], 0)
    edges = np.linspace(0, WIDEST, BINS + 1)
    low = np.clip(np.searchsorted(edges, root * (1 + 1e-6), side="right"), 0, BINS + 1)
    high = np.clip(np.searchsorted(edges, root * (1 - 1e-6), side="right") - 1, 0, BINS)
    least, most = (1 + above[low]) / (1 + total), (1 + above[high]) / (1 + total)
    if ((features["p"] < least - 1e-12) | (features["p"] > most + 1e-12)).any():
        found.append("p of the features does not follow from the null and their statistics")
    _same(found, "q of the features", q_values(features["p"]), features["q"])
    for name, column in (("count", "q"), ("sham", "sham_q")):
        _same(found, f"moved.{name}", int((features[column] < moved["level"]).sum()), moved[name])


def _listed(found: list[str], result: dict[str, Any], features: Columns, config: dict[str, Any]) -> None:
    """The features that are shown: which, in what order, and every number of them."""
    first = [one["feature"] for one in result["carried"]]
    size = len(features["statistic"])
    count = min(config["top_k"], size)
    order = np.argsort(-features["statistic"].astype(np.float32), kind="stable")[: count + len(first)].tolist()
    rest = [i for i in order if i not in set(first)]
    shown = [*first, *rest][: max(count, len(first))]
    _same_list(found, "shown", shown, [row["feature"] for row in result["shown"]])
    changes: list[int] = []
    if result["depth"] == "full" and "delta" in features:
        changes = np.argsort(-np.abs(features["delta"]), kind="stable")[: config["top_k"]].tolist()
    _same_list(found, "changes", changes, [row["feature"] for row in result["changes"]])
    for name in ("shown", "changes", "carried"):
        for row in result[name]:
            said = _row(row, features, result)
            if name == "carried":
                del said["q"]  # of the search, not of the feature's own test
            wrong = [key for key, value in said.items() if not _equal(value, row[key])]
            found += [f"{name}: {key} of {row['feature']} does not follow from the tables" for key in wrong]


def _row(row: dict[str, Any], features: Columns, result: dict[str, Any]) -> dict[str, Any]:
    """What the table says of a feature, under the names of its record."""
    place = row["feature"]
    said: dict[str, Any] = {}
    for key in COPIED:
        value = float(features[key][place]) if key in features else None
        said[key] = None if value is None or math.isnan(value) else value
    for key in COUNTED:
        if key in features:
            said[key] = int(features[key][place])
    for key in ("active_ref", "active_cand"):
        value = float(features[key][place]) if key in features else math.nan
        said[key] = None if math.isnan(value) else value
    silent = said["rate_ref"] == 0 or said["rate_cand"] == 0
    said["bound"] = 3 / min(result["n"]["tokens"], result["n"]["tokens_cand"]) if silent else None
    crossed = int(features["crossed"][place]) if "crossed" in features else 0
    moved = said["shift"]
    said["state"] = "raised" if moved > 0 else "suppressed" if moved < 0 else "unmoved"
    if crossed:
        said["state"] = "recruited" if crossed > 0 else "silenced"
    return {key: value for key, value in said.items() if key in row}


def _carried(found: list[str], result: dict[str, Any], tables: dict[str, Columns], design: Design, seed: int) -> None:
    """Coefficients, shares, intervals; the order of entry; why the search stopped; the length of the shift."""
    gram = _gram(tables)
    length = math.sqrt(max(0.0, float(design.weights[0] @ gram @ design.weights[0])))
    trace = float(tables["scale"]["trace"][0])
    _same(found, "the sums of what is written", int(tables["scale"]["width"][0]), len(tables["written"]["g0"]))
    _same(found, "activation_drift", length / trace**0.5 if trace > 0 else None, result["activation_drift"], ROUNDED)
    names = [one["feature"] for one in result["carried"]]
    basis = tables.get("basis", {"feature": np.zeros(0, np.int64)})
    _same_list(found, "carried", basis["feature"].tolist(), names)
    shares, rest = result["shares"], result["rest"]
    if rest is None and names:
        found.append("rest is not there, and features carry the shift")
    if names and basis["feature"].tolist() == names:
        rows = np.stack([basis[f"c{name}"] for name in names], axis=1)
        along = np.stack([tables["groups"][f"c{name}"] for name in names], axis=1)
        coefficients, ends, own, bounds = explained(gram, along, rows, design, seed)
        for i, one in enumerate(result["carried"]):
            said = (coefficients[i], *ends[:, i], own[i])
            _same(
                found,
                f"coefficient of {one['feature']}, its interval or share",
                said,
                (one["coefficient"], *one["interval"], one["share"]),
                ROUNDED,
            )
        stated = (shares["carried"], *(shares["carried_interval"] or (math.nan, math.nan)))
        _same(found, "shares.carried", (sum(one["share"] for one in result["carried"]), *bounds), stated, ROUNDED)
    elif rest is not None and not names:
        _same(found, "shares.carried", (0.0, None), (shares["carried"], shares["carried_interval"]))
    q = [one["q"] for one in result["carried"]]
    steps = {round(value * (1 + design.flips), 6) for value in q}
    if q != sorted(q) or any(value > LEVEL for value in q) or any(step != int(step) for step in steps):
        found.append("q of the carried features is no running maximum of what relabellings give")
    if rest is not None:
        state = _stopped(rest)
        if state is not None and rest["state"] != state:
            found.append(f"rest.state is {rest['state']}, its p and share say {state}")


def _stopped(rest: dict[str, Any]) -> str | None:
    """Why the search stopped, by its last look; None where that was not at a row."""
    if rest["state"] in ("nothing", "limit"):
        if rest["p"] is None:
            return None
        passed = rest["p"] <= LEVEL and rest["share"] > rest["chance"]
        return None if passed else "noise" if rest["p"] > LEVEL else "diffuse"
    if rest["p"] is None:
        return "nothing"
    return "noise" if rest["p"] > LEVEL else "diffuse" if rest["share"] <= rest["chance"] else "limit"


def _drift(found: list[str], result: dict[str, Any], tables: dict[str, Columns], design: Design) -> None:
    """Of mean codes, with its floor; the share of the shift that they write."""
    if ("drift" in tables) != (result["l2"] is not None):
        found.append("l2 does not follow from the tables")
    elif result["l2"] is not None:
        again = shift_length_of(_matrix(tables["drift"]), design)
        for name, key in (("drift", "drift"), ("floor_median", "median"), ("floor_q95", "q95"), ("p", "p")):
            _same(found, f"l2.{name}", getattr(again, key), result["l2"][name], ROUNDED)
        _same(found, "l2.excess", again.excess, result["l2"]["excess"], ROUNDED)
    seen: tuple[float | None, float | None] = (None, None)
    if "unseen" in tables:
        seen = seen_null(_gram(tables), _matrix(tables["unseen"]), design)
    for name, value in zip(("seen", "seen_null"), seen, strict=True):
        _same(found, f"shares.{name}", value, result["shares"][name], ROUNDED)


def _sample(
    found: list[str], result: dict[str, Any], tables: dict[str, Columns], config: dict[str, Any], seed: int
) -> None:
    """FVU of both sides, the interval of their difference, and what the reconstruction misses of token shifts."""
    paired = config["paired"] == "on"
    parts = [tables.get("sample")] * 2 if paired else [tables.get(f"sample_{s}") for s in ("reference", "candidate")]
    one, two = parts
    if one is None or two is None:
        said = result["fvu"] is None and result["shares"]["outside"] is None and result["n"]["sample"] == 0
        found += [] if said else ["fvu does not follow from the tables"]
        return
    _same(found, "n.sample", len(one["group"]), result["n"]["sample"])
    errors, distances = (one["error_ref"], two["error_cand"]), (one["distance_ref"], two["distance_cand"])
    missed, moved = one.get("missed"), one.get("moved")
    rebuilt = Rebuilt(errors, distances, (one["group"], two["group"]), 0.0, missed, moved)
    again = compared(rebuilt, paired, derive(seed, "fvu") % 2**32)
    fvu = result["fvu"]
    if isinstance(again, Refusal) or fvu is None:
        found += [] if isinstance(again, Refusal) and fvu is None else ["fvu does not follow from the tables"]
    else:
        _same(found, "fvu.ref", again.ref, fvu["ref"])
        _same(found, "fvu.cand", again.cand, fvu["cand"])
        _same(found, "fvu.difference", again.difference, fvu["difference"], ROUNDED)
        _same(found, "fvu.left_dictionary", fvu["difference"][0] > LEFT, fvu["left_dictionary"])
    outside = rebuilt.outside if paired and result["depth"] == "full" else None
    _same(found, "shares.outside", outside, result["shares"]["outside"])
    turned = outside is not None and moved is not None and moved[thinned(len(moved))].sum() > 0
    random = RANDOM if turned and result["kind"] == "sae" else 0
    _same(found, "the number of random dictionaries", random, len(result["shares"]["outside_random"]))


def _written(found: list[str], result: dict[str, Any], features: Columns) -> None:
    """Of a crosscoder: rates, means when active and shares of norms of the features that are listed."""
    for row in result["written"]:
        place = row["feature"]
        rate = float(features["rate"][place])
        active = float(features["mean"][place] / rate) if rate else None
        _same(found, f"written: rate of {place}", rate, row["rate"])
        _same(found, f"written: active of {place}", active, row["active"], ROUNDED)
        _same(found, f"written: rho of {place}", float(features["rho"][place]), row["rho"])
    nothing = (result["moved"]["count"], result["l2"], result["fvu"], result["effect_rms"], *result["shown"])
    if any(part is not None for part in nothing):
        found.append("a crosscoder has one code for both sides: no feature's code shifts")


def _demands(result: dict[str, Any], config: dict[str, Any]) -> list[str]:
    shares, l2, fvu = result["shares"], result["l2"] or {}, result["fvu"] or {}
    values: dict[str, Any] = {
        "moved": result["moved"]["count"],
        "carried": None if result["rest"] is None else len(result["carried"]),
        "share_carried": shares["carried"],
        "share_seen": shares["seen"],
        "share_outside": shares["outside"],
        "l2_drift": l2.get("drift"),
        "l2_excess": l2.get("excess"),
        "effect_rms": result["effect_rms"],
        "activation_drift": result["activation_drift"],
        "fvu_ref": fvu.get("ref"),
        "fvu_cand": fvu.get("cand"),
    }
    known: dict[tuple[str, str | None], float] = {
        (name, None): float(value) for name, value in values.items() if value is not None
    }
    wanted = requirements.answered(requirements.parse(config["require"], list(values)), known)
    again = [one.model_dump(mode="json") for one in wanted]
    if [one["text"] for one in again] != [one["text"] for one in result["requirements"]]:
        return ["the requirements are not those that were asked for"]
    return [
        f"requirement {one['text']!r} says {one['met']}, its metric says {own['met']}"
        for own, one in zip(again, result["requirements"], strict=True)
        if own != one
    ]


def _gram(tables: dict[str, Columns]) -> np.ndarray:
    """Products of the sums of what is written."""
    sums = remeasured.sums_of(tables, "written")
    return sums @ sums.T


def _matrix(table: Columns) -> np.ndarray:
    return np.stack(list(table.values()), axis=1)


def _equal(derived: Any, stated: Any) -> bool:
    if isinstance(derived, float) and isinstance(stated, int | float):
        return bool(np.isclose(derived, stated, rtol=EXACT, atol=1e-12))
    return type(derived) is type(stated) and derived == stated


def _same_list(found: list[str], what: str, derived: list[int], stated: list[int]) -> None:
    if derived != stated:
        found.append(f"{what} are not the features that the tables give, in their order")


def _same(found: list[str], what: str, derived: Any, stated: Any, tolerance: float = EXACT) -> None:
    """Numbers within a tolerance, everything else exactly; None is equal to None alone."""
    one, two = ([*x] if isinstance(x, list | tuple) else [x] for x in (derived, stated))
    close = len(one) == len(two)
    for a, b in zip(one, two, strict=False):
        if a is None or b is None or isinstance(a, str | bool):
            close &= a == b
        else:
            close &= bool(np.allclose(a, b, rtol=tolerance, atol=1e-12))
    if not close:
        found.append(f"{what} does not follow from the tables")
