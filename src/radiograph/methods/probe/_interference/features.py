"""Which features of a dictionary both adapters move on a target's rows.

1. pre-activations of the base and of each adapter on the same tokens, their differences summed by group of rows
2. moved: the sign-flip test of `probe sae-diff` over groups, q < .05 over features
3. shared: moved by both; beside it what two independent choices of as many would share, |A|·|B|/F
In an overcomplete dictionary nearly every feature moves a little, so the chance number is the one to look at first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Site, UserError, derive
from radiograph.numerics.shifts import Paired, feature_tests

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary
    from radiograph.methods._blame.rows import Data
    from radiograph.models import LanguageModel

ROWS, FLIPS, LEVEL, BATCH = 64, 200, 0.05, 1024


def opened(ctx: Context, reference: str, base: LanguageModel) -> tuple[Dictionary, Site]:
    """A dictionary of the base, and where it reads.

    Raises:
        UserError: one of several sites, or of a site that the base has not. Refusal: of another model or width.
    """
    from radiograph.dictionaries import Check, require

    dictionary = ctx.dictionary(reference)
    if len(dictionary.sites) != 1:
        raise UserError("a dictionary of several sites", where="--dictionary", expected="one that reads a single site")
    site = base.sites(dictionary.site)[0]
    model, own = dictionary.metadata.model, str(base.identity.tensors_sha256)
    stated = own if model is None or model.tensors_sha256 is None else model.tensors_sha256
    widths = dictionary.width, base.site_width(site)
    require(
        [
            Check("model", stated, own, stated == own),
            Check(f"width at {site}", str(widths[0]), str(widths[1]), widths[0] == widths[1]),
        ]
    )
    return dictionary, site


def shared(
    ctx: Context,
    dictionary: Dictionary,
    site: Site,
    base: LanguageModel,
    adapters: Mapping[str, LanguageModel],
    data: Mapping[str, Data],
) -> dict[tuple[str, str], dict[str, Any]]:
    """Counts by target and added."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with ctx.progress.task("moved features", total=len(adapters)) as task:
        for target in adapters:
            tied = zip(data[target].rows, data[target].groups, strict=True)
            rows, names = zip(*sorted(tied, key=lambda own: own[0].sha256)[:ROWS], strict=True)
            groups = np.unique(names, return_inverse=True)[1]
            tokens = [row.ids for row in rows]
            plain = _read(base, tokens, site)
            owners = np.repeat(groups, [len(ids) for ids in tokens])
            moved = {
                name: _moved(dictionary, plain, _read(view, tokens, site), owners, derive(ctx.seed, "moved", target))
                for name, view in adapters.items()
            }
            for added in adapters:
                if added != target and moved[target] is not None and moved[added] is not None:
                    one, two = moved[target], moved[added]
                    found[target, added] = {
                        "moved_target": int(one.sum()),
                        "moved_added": int(two.sum()),
                        "moved_both": int((one & two).sum()),
                        "moved_chance": float(one.sum()) * float(two.sum()) / len(one),
                    }
            task.advance()
    return found


def _moved(dictionary: Dictionary, plain: np.ndarray, side: np.ndarray, owners: np.ndarray, seed: int) -> Any:
    """Which features moved; None under 12 groups."""
    import torch

    counts = np.bincount(owners)
    sums = np.zeros((len(counts), dictionary.size))
    for start in range(0, len(owners), BATCH):
        here = slice(start, start + BATCH)
        one, two = (dictionary.preactivations(torch.from_numpy(x[here])).double().numpy() for x in (plain, side))
        np.add.at(sums, owners[here], two - one)
    tests = feature_tests(Paired(counts, FLIPS, seed % 2**32), dictionary.size, lambda block: [sums[:, block]])
    return None if tests.q is None else tests.q < LEVEL


def _read(model: LanguageModel, tokens: Sequence[Sequence[int]], site: Site) -> np.ndarray:
    """Activations of every token, rows in their order."""
    from radiograph.models import stream

    parts: list[np.ndarray] = [np.zeros(0)] * len(tokens)
    for batch, values in stream(model, tokens, [site]):
        for number, row in enumerate(batch.rows):
            parts[row] = values[site][number, : len(tokens[row])].float().cpu().numpy()
    return np.concatenate(parts)
