"""What the verbs that apply a probe ask for."""

from __future__ import annotations

from typing import Literal

from radiograph.core import ActivationsRef, FilePath, ModelRef
from radiograph.core import Config as Base


class Options(Base):
    """A target, a probe, and what it is read on."""

    target: ModelRef
    """The model to look at; of stored activations the base that they are of, by id or short name."""
    probe: FilePath | None = None
    """NAME.safetensors of a probe; by default that of the target's pack."""
    weights: FilePath | None = None
    """A vector of others (.npy, .npz, .safetensors): its scores are shown, no band comes from it."""
    site: str | None = None
    """Of --weights: where the vector belongs."""
    evidence: ActivationsRef | None = None
    """Stored activations to read."""
    data: tuple[str, ...] = ()
    """Texts to run through the target: FILE.jsonl, FILE.txt, suite:FILE, world:DOMAIN#N."""
    labels: FilePath | None = None
    """Labelled texts instead, as for probe build: does the target still tell the classes apart."""
    base: ModelRef | None = None
    """The base that the target, or a store of unknown origin, comes from."""
    reference: ModelRef | None = None
    """A model to compare with on the same texts."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """soup: --output and --json have the keys of soup-cli."""


class Banded(Options):
    """With bands that may be set."""

    bands: str = "5%,20%"
    """Up to the first share OK, up to the second MINOR, above it MAJOR."""
