"""Public exports of explanations, as Neuronpedia keeps them in a bucket: listed, fetched once, read line by line."""

from radiograph.store.exports._bucket import EXPORTS, Bucket, Found
from radiograph.store.exports._rows import KINDS, Read, read_file, strongest

__all__ = ["EXPORTS", "KINDS", "Bucket", "Found", "Read", "read_file", "strongest"]
