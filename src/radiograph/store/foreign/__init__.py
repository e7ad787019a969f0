"""Files of others: activation records in JSON Lines, as interp-lab writes them."""

from radiograph.store.foreign._records import Duplicates, read_records

__all__ = ["Duplicates", "read_records"]
