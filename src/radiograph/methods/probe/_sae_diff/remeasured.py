"""What of a run needs its dictionary: measured again from the stored sums, where the dictionary lies as it was.

The search for the rows that carry the shift, its sham, and in `standard` depth the tests of every feature follow from
the group sums and the dictionary alone. Where it does not lie at the place that the configuration names, or is another
one by its hash, they are taken as written, and `verify` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from radiograph.core import Context, RadiographError
from radiograph.core.limits import Limits
from radiograph.methods.probe._sae_diff import dictionary, measure
from radiograph.methods.probe._sae_diff.options import Config
from radiograph.numerics.shifts import LEAST_GROUPS, Design, carried, feature_tests
from radiograph.store import Workspace

if TYPE_CHECKING:
    from radiograph.dictionaries.plain import PlainDictionary
    from radiograph.store.opened import Opened

NEAR = 1e-4
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class _AtHand:
    """Of a context what reading a dictionary needs: files in the workspace, nothing fetched, nothing recorded."""

    workspace: Workspace = field(default_factory=Workspace.current)
    limits: Limits = field(default_factory=Limits)

    def path(self, reference: str, role: str) -> Path:
        return self.workspace.resolve(reference)

    def opened(self, reference: str, role: str) -> Opened:
        from radiograph.store.opened import Opened

        return Opened(self.workspace.open(reference), reference)

    def label(self, reference: str) -> str:
        return reference

    def dictionary_folder(self, reference: str) -> Path:
        from radiograph import organisms

        bundled = reference == "dictionary:bundled"
        return organisms.bundled_path("dictionary") if bundled else self.workspace.resolve(reference)


def at_hand(result: Mapping[str, Any], config: Mapping[str, Any], width: int) -> PlainDictionary | None:
    """The dictionary of a run; None where it is not there, not read here, or another one."""
    if result["kind"] == "crosscoder" or config["dictionary"].startswith(dictionary.SUITE):
        return None
    # What does not fit the rows is another dictionary; its site was looked at by the run.
    store: Any = SimpleNamespace(width=width, rows=result["n"]["tokens"], name=result["reference"], site=None)
    try:
        found = dictionary.opened(Config.model_validate(config), cast("Context", _AtHand()), store)
    except (RadiographError, ImportError, OSError):
        return None
    return found if found.sha256 == result["dictionary_sha256"] else None


def problems(
    held: PlainDictionary,
    result: dict[str, Any],
    tables: dict[str, Columns],
    design: Design,
    seed: int,
    foldered: bool,
) -> list[str]:
    """What the dictionary and the sums do not give."""
    from threadpoolctl import threadpool_limits

    said = {"kind": held.kind, "activation": held.sigma, "features": held.size, "target": held.target}
    wrong = [
        f"{name} is {result[name]}, the dictionary's is {own}" for name, own in said.items() if result[name] != own
    ]
    if list(held.notes) != list(result["notes"]):
        wrong.append("notes are not those of the dictionary")
    named = held.names or ()
    for row in (*result["carried"], *result["shown"], *result["changes"]):
        own = named[row["feature"]] if named else None
        wrong += [f"the name of {row['feature']} is not that of the dictionary"] if row["name"] != own else []
        # Labels lie beside a dictionary in a folder of ours alone; those may have been written anew since.
        if row["label"] is not None and not foldered:
            wrong.append(f"the label of {row['feature']} is of no dictionary")
    with threadpool_limits(1):  # as the run did
        wrong += _features(held, result, tables, design)
        wrong += _search(held, result, tables, design, seed)
    return wrong


def in_folder(config: Mapping[str, Any]) -> bool:
    """Whether the dictionary is a folder, beside which labels may lie."""
    text = config["dictionary"]
    if text.startswith((dictionary.UNITS, dictionary.SUITE, dictionary.DIRECTIONS)):
        return False
    return _AtHand().dictionary_folder(text).is_dir()


def sums_of(tables: dict[str, Columns], name: str) -> np.ndarray:
    """[group, width] of a table of sums; what is read is what is written, unless it was stored too."""
    table = tables.get(name, tables["written"])
    return np.ascontiguousarray(np.stack(list(table.values()), axis=0))


def _features(held: PlainDictionary, result: dict[str, Any], tables: dict[str, Columns], design: Design) -> list[str]:
    read, features = sums_of(tables, "read"), tables["features"]
    shift = np.concatenate([design.weights[0] @ measure.preactivated(held, read, b) for b in measure.every(held)])
    wrong = [] if _near(shift, features["shift"]) else ["shifts of features do not follow from the dictionary"]
    if result["depth"] == "full" and held.encodes:  # the statistic is of codes, too
        return wrong
    tests = feature_tests(design, held.size, lambda block: [measure.preactivated(held, read, block)])
    own = {"statistic": tests.statistic, "p": tests.p, "q": tests.q, "sham_q": tests.sham_q}
    for name, values in own.items():
        if values is not None and not _near(values, features[name]):
            wrong.append(f"{name} of features does not follow from the dictionary")
    null = np.asarray(tests.null)
    moved = int(np.abs(np.cumsum(null - np.asarray(result["null"]))).max(initial=0))
    # At an edge of a bin the last digit decides.
    return [*wrong, "the null does not follow from the dictionary"] if moved > NEAR * null.sum() else wrong


def _search(
    held: PlainDictionary, result: dict[str, Any], tables: dict[str, Columns], design: Design, seed: int
) -> list[str]:
    written = sums_of(tables, "written")
    if result["rest"] is None or held.decoder is None or held.decoder.shape[1] != written.shape[1]:
        stated = result["rest"] is None and design.groups >= LEAST_GROUPS and held.kind == "sae"
        return ["rest is not there, and the dictionary has rows"] if stated and held.decoder is not None else []
    found = carried(held.directions(), written, design, seed=seed)
    least = 1.5 / (1 + design.flips)  # one relabelling that ends on the other side of a tie
    rest = result["rest"]
    wrong: list[str] = []
    for name, own, said, near in (
        ("rest.state", found.rest, rest["state"], 0.0),
        ("rest.p", found.rest_p, rest["p"], least),
        ("rest.share", found.rest_share, rest["share"], NEAR),
        ("rest.chance", found.chance, rest["chance"], NEAR),
        ("moved.sham_carried", found.sham, result["moved"]["sham_carried"], 0.0),
    ):
        if own != said and (isinstance(own, str) or own is None or said is None or abs(own - said) > near):
            wrong.append(f"{name} is {said}, the search gives {own}")
    if [one.row for one in found.chosen] != [one["feature"] for one in result["carried"]]:
        return [*wrong, "the search chooses other rows"]
    for own, said in zip(found.chosen, result["carried"], strict=True):
        if list(own.alternatives) != list(said["alternatives"]) or abs(own.q - said["q"]) > least:
            wrong.append(f"q or alternatives of {own.row} are not those of the search")
    return wrong


def _near(one: np.ndarray, two: np.ndarray) -> bool:
    return len(one) == len(two) and bool(
        np.allclose(one, two, rtol=NEAR, atol=NEAR * float(np.abs(one).max(initial=0)))
    )
