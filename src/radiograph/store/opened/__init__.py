"""Files opened once: what was hashed is what is read, whatever happens to the name afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.store.opened._file import Opened, descriptor_without_links, refuse_links
    from radiograph.store.opened._tensors import TYPES, Tensors, widened

__all__ = ["TYPES", "Opened", "Tensors", "descriptor_without_links", "refuse_links", "widened"]

__getattr__ = deferred(__name__, __file__)
