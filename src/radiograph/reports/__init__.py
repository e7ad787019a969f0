"""Floor 3: one page and its figures from a verb's result alone; the numbers on it can be checked. Imports no torch.

`figures` draws, `page` writes report.md and report.html in words that `wording` knows by a hash, `broken_pointers`
compares numbers of the page with result.json;
`graphml` and `mermaid` write an evidence graph for others, `card` what a published run says of itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.reports._page import Page, figures, page, wording

if TYPE_CHECKING:
    from radiograph.reports._card import card
    from radiograph.reports._graph import graphml, mermaid
    from radiograph.reports._pointers import broken_pointers

__all__ = ["Page", "broken_pointers", "card", "figures", "graphml", "mermaid", "page", "wording"]

__getattr__ = deferred(__name__, __file__)
