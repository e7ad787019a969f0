"""Row gradients: which matrices have them, what they are made of, and how tokens take part."""

from radiograph.models.gradients._edges import Edged, Edges, edges
from radiograph.models.gradients._matrices import Tracked, tracked_matrices
from radiograph.models.gradients._path import on_path
from radiograph.models.gradients._tokens import loss_derivatives

__all__ = ["Edged", "Edges", "Tracked", "edges", "loss_derivatives", "on_path", "tracked_matrices"]
