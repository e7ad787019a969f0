"""A dictionary of ours in the format of somebody else, proved by reading it back.

1. the writer refuses by name what its format has no place for; nothing is approximated   2. the files are read by our
own importer   3. codes and reconstructions of 1,024 rows agree to 1e-6 of the largest, or nothing is left behind
The rows are normal, with a spread at which features fire: a check of the files, not of the dictionary's quality.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from radiograph.core import RadiographError, Refusal, UserError, derive
from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries.formats._find import named, writers
from radiograph.dictionaries.formats._fold import fold
from radiograph.dictionaries.formats._imported import Options
from radiograph.dictionaries.formats._source import Source

ROWS: Final = 1_024
TOLERANCE: Final = 1e-6
FLIPPED: Final = ROWS // 100
"""Rows on which a feature may stand within rounding of its threshold, and so fire on one side alone."""


@dataclass(frozen=True)
class Exported:
    """What was written and how closely it reads back."""

    format: str
    files: dict[str, int]
    """Bytes of each file."""
    difference: float
    """Largest difference of a reconstruction, as a share of the largest value."""
    identical: bool
    """The dictionary that was read back has the same hash."""


def export(dictionary: Dictionary, format: str, folder: Path) -> Exported:
    """Write a dictionary into a new folder and read it back.

    Raises:
        UserError: no such format, or the folder is not empty. Refusal: `not_expressible`, with what the format has no
        place for; `export_differs`, it reads back as something else.
    """
    writer = named(format, writers())
    if folder.exists() and any(folder.iterdir()):
        raise UserError("an export is written to a new folder", got=f"{folder.name} is not empty", fix="choose another")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        writer.write(dictionary, folder)
        again = read_back(folder, format, dictionary)
        difference = compare(dictionary, again)
    except RadiographError:
        shutil.rmtree(folder)
        raise
    if difference > TOLERANCE:
        shutil.rmtree(folder)
        raise Refusal(
            "export_differs",
            f"what {format} gives back is not this dictionary",
            expected=f"reconstructions within {TOLERANCE:g}",
            got=f"{difference:.3g}",
        )
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    return Exported(format, files, difference, again.hash == dictionary.hash)


def read_back(folder: Path, format: str, like: Dictionary) -> Dictionary:
    """The one dictionary in a folder, through the importer of a format; sites as in `like` where it stores none."""
    source = Source.open(folder)
    module = named(format)
    options = Options(site=like.sites[0] if len(like.sites) == 1 else None, target=like.target, k=_k(like))
    imported = list(module.read(source, options))
    source.close()
    if len(imported) != 1:
        raise Refusal("export_differs", f"{format} gives back {len(imported)} dictionaries", expected="1")
    return fold(imported[0].dictionary, imported[0].input_scales, imported[0].target_scales)[0]


def compare(one: Dictionary, other: Dictionary) -> float:
    """Largest difference of reconstructions of the same rows, as a share of the largest absolute value.

    Rows on which a feature stands within rounding of its threshold may differ in that feature alone, and are left out.
    """
    rows = _rows(one)
    first, second = one.encode_dense(rows), other.encode_dense(rows)
    same = ((first != 0) == (second != 0)).all(1)
    if int((~same).sum()) > FLIPPED:
        return float("inf")
    want, got = one.reconstruct(rows)[same], other.reconstruct(rows)[same]
    codes = (first[same] - second[same]).abs().max() / first.abs().max().clamp_min(1e-12)
    outputs = (want - got).abs().max() / want.abs().max().clamp_min(1e-12)
    return float(torch.maximum(codes, outputs))


def _rows(dictionary: Dictionary) -> Float[Tensor, "row width"]:
    """Normal rows around the input bias, so far out that a feature fires on most of them."""
    generator = torch.Generator().manual_seed(derive(0, "export"))
    noise = torch.randn(ROWS, dictionary.width, generator=generator, dtype=torch.float64).to(dictionary.encoder)
    for doubling in range(40):
        rows = noise * 2.0**doubling + dictionary.input_bias
        if int(dictionary.encode(rows[:64]).active.sum()) >= 64:
            return rows
    return noise + dictionary.input_bias


def _k(dictionary: Dictionary) -> int | None:
    k = dictionary.activation.constants.get("k")
    return k if isinstance(k, int) else None
