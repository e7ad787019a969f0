"""Files opened once: what was hashed is what is read, whatever happens to the name afterwards."""

from radiograph.store.opened._file import Opened, descriptor_without_links, refuse_links
from radiograph.store.opened._tensors import TYPES, Tensors, widened

__all__ = ["TYPES", "Opened", "Tensors", "descriptor_without_links", "refuse_links", "widened"]
