"""Planes of meaning: what rows do in the plane of two vectors, and what chance would do. No model."""

from radiograph.numerics.planes._clusters import clusters, principal_angles, triangulated
from radiograph.numerics.planes._cones import cone_fraction, signed_fraction, supremum
from radiograph.numerics.planes._flips import MIN_CORES, Flips, Intervals, Movement, core_intervals, turn
from radiograph.numerics.planes._kernel import Fold, LabelBasis, Terms
from radiograph.numerics.planes._labels import GroupLength, Labels, PseudoF, strata_of
from radiograph.numerics.planes._pairs import MEMORY, Block, PlaneMoments, moment_path, sample_path
from radiograph.numerics.planes._plane import (
    MIN_SINE,
    Planes,
    PlaneStatistics,
    all_pairs,
    coordinates,
    curve,
    degrees,
    frame,
    planes_of,
    statistics,
    swapped,
)
from radiograph.numerics.planes._rotations import (
    PlaneLengths,
    Rotated,
    crowding,
    fourfold,
    gaussian_vectors,
    haar_vectors,
    half_vectors,
)
from radiograph.numerics.planes._spherical import Isotropy, hodges_ajne, kuiper, rayleigh
from radiograph.numerics.planes._testing import DRAWS, LIMIT, Source, Tested, against_null
from radiograph.numerics.planes._transforms import Role, Transform, TransformKind, unit_rows

__all__ = [
    "DRAWS",
    "LIMIT",
    "MEMORY",
    "MIN_CORES",
    "MIN_SINE",
    "Block",
    "Flips",
    "Fold",
    "GroupLength",
    "Intervals",
    "Isotropy",
    "LabelBasis",
    "Labels",
    "Movement",
    "PlaneLengths",
    "PlaneMoments",
    "PlaneStatistics",
    "Planes",
    "PseudoF",
    "Role",
    "Rotated",
    "Source",
    "Terms",
    "Tested",
    "Transform",
    "TransformKind",
    "against_null",
    "all_pairs",
    "clusters",
    "cone_fraction",
    "coordinates",
    "core_intervals",
    "crowding",
    "curve",
    "degrees",
    "fourfold",
    "frame",
    "gaussian_vectors",
    "haar_vectors",
    "half_vectors",
    "hodges_ajne",
    "kuiper",
    "moment_path",
    "planes_of",
    "principal_angles",
    "rayleigh",
    "sample_path",
    "signed_fraction",
    "statistics",
    "strata_of",
    "supremum",
    "swapped",
    "triangulated",
    "turn",
    "unit_rows",
]
