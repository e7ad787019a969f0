"""Files opened once: what was hashed is what is read, whatever happens to the name afterwards."""

from radiograph.store.opened._file import Opened, descriptor_without_links, refuse_links

__all__ = ["Opened", "descriptor_without_links", "refuse_links"]
