"""Where a site is read and written in the modules of one architecture.

`resid_pre` and `embed` are what enters a block, `resid_post` what leaves it, `attn_z` and `mlp_hidden` what enters the
last projection of attention and MLP, `mlp_in` what enters the MLP, `resid_mid` what enters the norm between the two.
Refuses a site that the architecture does not compute: blocks with parallel attention and MLP have no `resid_mid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from radiograph.core import Refusal, Site, UserError
from radiograph.models.architectures._families import Family


@dataclass(frozen=True, slots=True)
class Point:
    """A tensor at the edge of a module: its first input or its (first) output.

    `columns` narrows it to one head. `shared`: other modules read the same tensor object later, so a new value must
    be written into it, not beside it.
    """

    module: str
    side: Literal["input", "output"]
    columns: slice | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """The site map of one model."""

    name: str
    family: Family
    n_layers: int
    n_heads: int
    head_dim: int

    def point(self, site: Site) -> Point:
        """Where `site` is.

        Raises:
            UserError: a layer or head outside the model.
            Refusal: this architecture computes no such tensor (`site_absent`).
        """
        family = self.family
        self._check(site)
        if site.kind == "final_norm":
            return Point(f"{family.backbone}.{family.final_norm}", "output")
        block = f"{family.backbone}.{family.blocks}.{site.layer or 0}"
        match site.kind:
            case "embed" | "resid_pre":
                return Point(block, "input")
            case "resid_post":
                return Point(block, "output")
            case "attn_z":
                head = None if site.head is None else slice(site.head * self.head_dim, (site.head + 1) * self.head_dim)
                return Point(f"{block}.{family.z}", "input", head)
            case "attn_out":
                return Point(f"{block}.{family.attn_out}", "output")
            case "mlp_in":
                return Point(f"{block}.{family.mlp}", "input")
            case "mlp_hidden":
                return Point(f"{block}.{family.hidden}", "input")
            case "mlp_out":
                return Point(f"{block}.{family.mlp_out}", "output")
            case _:
                if family.mid is None:
                    raise Refusal(
                        "site_absent",
                        f"{site} does not exist in this {self.name} model: attention and MLP run in parallel",
                        fix=f"use resid_pre.{site.layer}, attn_out.{site.layer} or resid_post.{site.layer}",
                        fixable=True,
                    )
                return Point(f"{block}.{family.mid}", "input", shared=True)

    def _check(self, site: Site) -> None:
        if site.layer is not None and not 0 <= site.layer < self.n_layers:
            raise UserError(
                f"site {site} is outside the model",
                expected=f"a layer from 0 to {self.n_layers - 1}",
                code="unknown_site",
            )
        if site.head is not None and not 0 <= site.head < self.n_heads:
            raise UserError(
                f"site {site} is outside the model",
                expected=f"a head from 0 to {self.n_heads - 1}",
                code="unknown_site",
            )
