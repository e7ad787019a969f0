"""Activations of a model on texts, held in memory, with the interface that shards on disk have.

1. windows of tokens (`_tokens`)   2. one forward per batch that stops after the last site (`models.stream`)
3. kept rows are written in stream order, so neither the batch plan nor the number of sites moves a row
4. readers: training rows in an order drawn from (seed, epoch), validation rows in stored order
For what fits in RAM: rows × Σ widths × bytes of the model's own type. Stops at the first value that is not finite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from radiograph.core import Progress, Silent, Site, UserError, derive
from radiograph.harvest._plan import Split, Window, windows
from radiograph.harvest._sources import Text
from radiograph.harvest._tokens import Keep
from radiograph.models import LanguageModel, stream
from radiograph.numerics.moments import Moments

STATISTICS_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class MemoryShards:
    """Kept rows of some sites. Row r of every site belongs to the same token."""

    sites: dict[str, Float[Tensor, "row width"]]
    """Address to rows; widths differ between sites."""
    tokens: Int[Tensor, " row"]
    positions: Int[Tensor, " row"]
    """Position in the window."""
    owners: Int[Tensor, " row"]
    """Index into `windows`."""
    windows: tuple[Window, ...]

    @property
    def widths(self) -> dict[str, int]:
        """Width of each site."""
        return {site: rows.shape[1] for site, rows in self.sites.items()}

    def count(self, split: Split | None = None) -> int:
        """Rows of a split, or of both."""
        return len(self.tokens) if split is None else len(self.index(split))

    def index(self, split: Split) -> Int[Tensor, " kept"]:
        """Row numbers of a split, ascending."""
        chosen = torch.tensor([window.split == split for window in self.windows])
        return chosen[self.owners].nonzero().flatten()

    def rows(self, site: str, split: Split | None = None) -> Float[Tensor, "row width"]:
        """Rows of one site in stored order.

        Raises:
            UserError: the site was not harvested.
        """
        if site not in self.sites:
            raise UserError(f"no rows of {site}", expected=", ".join(self.sites), code="unknown_site")
        return self.sites[site] if split is None else self.sites[site][self.index(split)]

    def moments(self, site: str, split: Split | None = "train") -> Moments:
        """Mean and variance of a site, float64."""
        rows = self.rows(site, split)
        moments = Moments(rows.shape[1])
        for part in rows.split(STATISTICS_ROWS):
            moments.add(part.float().numpy())
        return moments

    def variance(self, site: str) -> float:
        """Mean of ‖x − x̄‖² over the training rows."""
        return self.moments(site).variance

    def batches(
        self, site: str, *, split: Split, batch: int, seed: int = 0, epoch: int = 0
    ) -> Iterator[Float[Tensor, "row width"]]:
        """Every row of a split once; the last batch may be short."""
        rows, index = self.rows(site), self.index(split)
        if split == "train":
            generator = torch.Generator().manual_seed(derive(seed, "reader", epoch))
            index = index[torch.randperm(len(index), generator=generator)]
        for part in index.split(batch):
            yield rows[part]


def harvest(
    model: LanguageModel,
    texts: Sequence[Text],
    sites: Sequence[str | Site],
    *,
    length: int = 512,
    keep: Keep = "content",
    validation: float = 0.1,
    salt: int = 0,
    batch_tokens: int = 8192,
    max_rows: int | None = None,
    progress: Progress | None = None,
) -> MemoryShards:
    """Rows of `sites` on all texts, or on the first whole windows with at most `max_rows` kept rows.

    Raises:
        UserError: the model has no tokenizer or not that site; no token to keep; a value that is not finite.
    """
    if model.tokenizer is None:
        raise UserError(f"{model.ref} has no tokenizer", fix="harvest needs text to become tokens")
    addresses = [found for site in sites for found in model.sites(str(site))]
    length = min(length, model.context_length)
    plan = windows(model.tokenizer, texts, length=length, keep=keep, validation=validation, salt=salt)
    if max_rows is not None:
        plan = _first(plan, max_rows)
    tokens = [window.ids for window in plan]
    kept = [torch.tensor(window.kept) for window in plan]
    counts = torch.tensor([int(mask.sum()) for mask in kept])
    ends = counts.cumsum(0)
    out: dict[Site, Tensor] = {}
    with (progress or Silent()).task("harvest", len(plan)) as task:
        for batch, found in stream(model, tokens, addresses, batch_tokens=batch_tokens):
            for site, values in found.items():
                values = values.cpu()
                target = out.setdefault(site, values.new_empty(int(ends[-1]), values.shape[2]))
                for line, row in enumerate(batch.rows):
                    mask = kept[row]
                    target[ends[row] - counts[row] : ends[row]] = values[line, : len(mask)][mask]
            task.advance(len(batch.rows))
    return MemoryShards(
        sites={str(site): out[site] for site in addresses},
        tokens=torch.cat([torch.tensor(ids)[mask] for ids, mask in zip(tokens, kept, strict=True)]),
        positions=torch.cat([mask.nonzero().flatten() for mask in kept]),
        owners=torch.arange(len(plan)).repeat_interleave(counts),
        windows=tuple(plan),
    )


def _first(plan: list[Window], rows: int) -> list[Window]:
    """The longest start of the plan with at most `rows` kept rows, at least one window."""
    total, chosen = 0, []
    for window in plan:
        total += sum(window.kept)
        if chosen and total > rows:
            break
        chosen.append(window)
    return chosen
