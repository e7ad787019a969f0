"""The two sides: where their rows come from, whether they belong together, and in which groups they go.

1. both are stores, or both are models: models are harvested on the same tokens as a recorded step, and read like stores
2. stores must agree in rows, width and, where both have them, token ids, prompts, positions, site and tokenizer; the
   first row that differs is named
3. groups: the prompt group, the prompt, a column, or blocks of rows; several at once are merged by keyed hash where
   their sums would not fit into the memory that is allowed. Blocks that nobody asked for are as long as that takes, and
   `lengthened` once their sums are known, until neighbours are no longer alike
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, Site, UserError, visible
from radiograph.numerics.shifts import BLOCK_ROWS, Design, Paired, Unpaired, keyed_bins
from radiograph.store.activations import ActivationStore

if TYPE_CHECKING:
    from radiograph.methods.probe._sae_diff.options import Config

TILE = 256
"""Rows at a time, whatever is read at once: sums do not depend on it."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Rows of both sides, where they are read, and where they are written."""

    inputs: tuple[ActivationStore, ActivationStore]
    """Reference and candidate."""
    targets: tuple[ActivationStore, ActivationStore] | None
    """The same where a transcoder writes; None where it reads and writes one site, or nobody stored the other."""
    paired: bool
    groups: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Group of each row of both sides."""
    counts: NDArray[np.int64]
    """[side, group]."""
    clusters: str
    names: NDArray[Any]
    assumed: bool = False
    """Whether groups are blocks of rows that nobody asked for."""
    stamps: list[str] = field(default_factory=list)
    read_bytes: int = 32 * 2**20

    @property
    def tokens(self) -> int:
        """Rows of the reference."""
        return self.inputs[0].rows

    def lengthened(self, factor: int) -> Sides:
        """With so many blocks in a group."""
        groups = (self.groups[0] // factor, self.groups[1] // factor)
        size = factor * int(self.clusters.removeprefix("block:"))
        most = -(-len(self.names) // factor)
        return replace(
            self,
            groups=groups,
            counts=np.array([np.bincount(own, minlength=most) for own in groups]),
            clusters=f"block:{size}",
            names=np.arange(most),
        )

    def tiles(self, stores: Sequence[ActivationStore]) -> Iterator[tuple[list[NDArray[Any]], slice]]:
        """The same rows of some stores, a tile at a time, and where they stand."""
        streams = [_tiled(store, self.read_bytes) for store in stores]
        start = 0
        for tiles in zip(*streams, strict=True):
            yield list(tiles), slice(start, start + len(tiles[0]))
            start += len(tiles[0])

    def design(self, most: int, flips: int, seed: int) -> tuple[Design, NDArray[np.int64]]:
        """Relabellings of merged groups, and the bin of each group."""
        if self.paired:
            bins = keyed_bins(self.names, most, f"groups {seed}")
            merged = np.bincount(bins, self.counts[0], int(bins.max()) + 1).astype(np.int64)
            return Paired(merged, flips, seed), bins
        present = [np.flatnonzero(row) for row in self.counts]
        own = max(1, min(most // 2, *map(len, present)))
        dealt: list[NDArray[np.int64]] = []
        both = np.zeros((2, len(self.names)), np.int64)
        for side, places in enumerate(present):
            both[side, places] = keyed_bins(self.names[places], own, f"groups {seed} {side}")
            dealt.append(np.bincount(both[side, places], self.counts[side, places], own).astype(np.int64))
        return Unpaired(np.concatenate([dealt[1], dealt[0]]), own, flips, seed), both


def _tiled(store: ActivationStore, read_bytes: int) -> Iterator[NDArray[Any]]:
    rows = max(TILE, read_bytes // (store.width * 4) // TILE * TILE)
    for chunk in store.chunks(rows):
        for start in range(0, len(chunk), TILE):
            yield chunk[start : start + TILE]


def is_store(ctx: Context, reference: str) -> bool:
    """Whether a side is stored activations; a path that could be both is refused.

    Raises:
        UserError: `ambiguous`.
    """
    from radiograph.store.activations import is_activations

    if reference.startswith(("store:", "model:")):
        return reference.startswith("store:")
    path, mark, _ = reference.partition("#")
    try:
        place = ctx.locate(path)
    except UserError as error:
        if error.code != "not_found":
            raise
        if mark or path.lower().endswith((".npy", ".npz", ".parquet", ".json")):
            raise
        return False
    stored, model = is_activations(place), (place / "config.json").is_file()
    if stored and model:
        raise UserError(
            f"{visible(reference)} could be a model or stored activations",
            expected="store:PATH or model:PATH",
            fix=f"write store:{reference} or model:{reference}",
            code="ambiguous",
        )
    return bool(mark) or stored or place.is_file()


def opened(ctx: Context, references: Sequence[str], site: str | None) -> tuple[ActivationStore, ActivationStore]:
    """The stores of both sides, at a site where they hold several."""
    roles = ("reference", "candidate")
    one, two = (_one(ctx, reference, role, site) for reference, role in zip(references, roles, strict=True))
    return one, two


def _one(ctx: Context, reference: str, role: str, site: str | None) -> ActivationStore:
    path, mark, source = reference.partition("#")
    if mark and site is not None and "/" not in source and not _is_site(source):
        reference = f"{path}#{source}/{site}"
    try:
        return ctx.activations(reference, role)
    except UserError as error:
        # A folder of several sites, and none was named: the dictionary's.
        if error.code != "unknown_site" or mark or site is None:
            raise
        return ctx.activations(f"{path}#{site}", role)


def _is_site(text: str) -> bool:
    try:
        Site.parse(text)
    except UserError:
        return False
    return True


def together(
    config: Config,
    inputs: tuple[ActivationStore, ActivationStore],
    targets: tuple[ActivationStore, ActivationStore] | None,
    memory: int,
) -> Sides:
    """Both sides, checked against each other and grouped.

    Raises:
        UserError: they do not belong together; names both sides and the first row that differs.
    """
    stamps: list[str] = []
    paired = config.paired == "on"
    _same_place(*inputs)
    if paired:
        _same_rows(*inputs, stamps)
    else:
        stamps.append("unpaired")
    for store in targets or ():
        if store.rows not in (inputs[0].rows, inputs[1].rows):
            raise UserError("rows of the site that is written differ", got=f"{store.rows} at {store.name}")
    clusters, assumed = _clusters(config, inputs)
    if assumed:
        stamps.append("clusters_assumed")
    groups, names = _groups(inputs, clusters, paired)
    counts = np.array([np.bincount(g, minlength=len(names)) for g in groups])
    most = max(64, memory // 4 // (inputs[0].width * 8))
    budget = max(2**16, memory // 8)
    if assumed:
        blocks = Sides(inputs, targets, paired, groups, counts, clusters, names, True, stamps, budget)
        return blocks.lengthened(-(-len(names) // most))
    if len(names) > most:
        bins = keyed_bins(names, most, "groups of a budget")
        groups = (bins[groups[0]], bins[groups[1]])
        names = np.arange(most)
        counts = np.array([np.bincount(g, minlength=most) for g in groups])
        stamps.append("groups_merged")
    return Sides(inputs, targets, paired, groups, counts, clusters, names, False, stamps, budget)


def _same_place(one: ActivationStore, two: ActivationStore) -> None:
    for what in ("width", "site", "tokenizer_sha256"):
        ours, theirs = getattr(one, what), getattr(two, what)
        if None not in (ours, theirs) and ours != theirs:
            turned = what == "width" and (one.rows, one.width) == (two.width, two.rows)
            raise UserError(
                f"the sides are not of one {what.removesuffix('_sha256')}",
                expected=f"{ours} in {one.name}",
                got=f"{theirs} in {two.name}",
                fix="is one of them transposed?" if turned else "harvest both at one site, on the same tokens",
                code="sides_differ",
            )


def _same_rows(one: ActivationStore, two: ActivationStore, stamps: list[str]) -> None:
    if one.rows != two.rows:
        raise UserError(
            "the sides have different numbers of rows",
            expected=f"{one.rows} in {one.name}",
            got=f"{two.rows} in {two.name}",
            fix="harvest both on the same tokens, or compare other tokens with --paired off",
            code="sides_differ",
        )
    shared = [name for name in one.columns if name in two.columns]
    for name in shared:
        differ = one.columns[name] != two.columns[name]
        if differ.any():
            row = int(differ.argmax())
            raise UserError(
                f"the sides hold other {name}s from row {row} on",
                expected=f"{one.columns[name][row]} in {one.name}",
                got=f"{two.columns[name][row]} in {two.name}",
                where=f"row {row}",
                fix="harvest both on the same tokens, or compare other tokens with --paired off",
                code="sides_differ",
            )
    if not {"token", "prompt"} & set(shared):
        stamps.append("pairing_assumed")


def _clusters(config: Config, inputs: tuple[ActivationStore, ActivationStore]) -> tuple[str, bool]:
    """What a group is, and whether that was assumed."""
    known = [name for name in inputs[0].columns if config.paired == "on" or name in inputs[1].columns]
    if config.clusters == "prompt":
        found = next((name for name in ("group", "prompt") if name in known), None)
        return (found, False) if found else (f"block:{BLOCK_ROWS}", True)
    kind, _, value = config.clusters.partition(":")
    if kind == "block" and value.isdigit() and int(value) > 0:
        return config.clusters, False
    if kind == "column" and value in known:
        return value, False
    raise UserError(
        f"clusters {config.clusters!r}",
        expected="prompt, block:N or column:NAME" + (f" with one of {', '.join(known)}" if known else ""),
        fix=f"--clusters {f'column:{known[0]}' if known else f'block:{BLOCK_ROWS}'}",
        code="bad_value",
    )


def _groups(
    inputs: tuple[ActivationStore, ActivationStore], clusters: str, paired: bool
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]:
    kind, _, size = clusters.partition(":")
    if kind == "block":
        both = [np.arange(store.rows) // int(size) for store in inputs]
        return (both[0], both[1]), np.arange(max(int(g.max()) for g in both) + 1)
    columns = [inputs[0].columns[kind]] if paired else [store.columns[kind] for store in inputs]
    names, owners = np.unique(np.concatenate(columns), return_inverse=True)
    owners = owners.astype(np.int64)
    if paired:
        return (owners, owners), names
    return (owners[: inputs[0].rows], owners[inputs[0].rows :]), names
