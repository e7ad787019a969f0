"""Directions with what they are: the site they belong to, the model they were found in, and what was shown of them."""

from radiograph.store.directions._files import (
    DirectionsHeader,
    MatrixRecord,
    open_directions,
    read_directions_header,
    write_directions,
)

__all__ = ["DirectionsHeader", "MatrixRecord", "open_directions", "read_directions_header", "write_directions"]
