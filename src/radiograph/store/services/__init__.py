"""Clients of services that hold features of others: Neuronpedia's dashboards, Goodfire's search.

What they answer is theirs: labels, examples and scores are kept as they came, and become no statistic of ours.
"""

from radiograph.store.services._client import Service, ServiceError
from radiograph.store.services._goodfire import GOODFIRE, found_features
from radiograph.store.services._neuronpedia import NEURONPEDIA, Dashboard, Dashboards

__all__ = ["GOODFIRE", "NEURONPEDIA", "Dashboard", "Dashboards", "Service", "ServiceError", "found_features"]
