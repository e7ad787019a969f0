"""Attribution graphs as arrays: influence, replacement and completeness, pruning, groups of alike nodes.

A graph is its edges: numbers of the source and of the target node, and a weight. Nodes are numbered from 0.
"""

from radiograph.numerics.graphs._edges import Edges
from radiograph.numerics.graphs._influence import Scores, influence, normalised, scores
from radiograph.numerics.graphs._pruning import Pruned, Roles, cumulative, prune
from radiograph.numerics.graphs._supernodes import Group, Profiles, given_groups, inner_cosines, profile_groups

__all__ = [
    "Edges",
    "Group",
    "Profiles",
    "Pruned",
    "Roles",
    "Scores",
    "cumulative",
    "given_groups",
    "influence",
    "inner_cosines",
    "normalised",
    "profile_groups",
    "prune",
    "scores",
]
