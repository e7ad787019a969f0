"""What kinds of sources draw from. Whoever opens a source hands in what there is; nothing here finds it by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from radiograph.core import UserError
from radiograph.core.codec import Codec

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.core.shapes import Float


class FeatureDictionary(Codec, Protocol):
    """A dictionary as `dictionaries.Dictionary` is one."""

    @property
    def decoder(self) -> Float[Tensor, "feature target"]:
        """What each feature writes."""
        ...

    def address(self, feature: int) -> str:
        """Its address."""
        ...


@dataclass(frozen=True)
class Opened:
    """A dictionary, and what is known of it beside."""

    dictionary: FeatureDictionary
    labels: Mapping[int, str] = field(default_factory=dict)
    model_sha256: str | None = None
    """Of the model that it was trained on; None: its file does not say."""
    licence: str | None = None


@dataclass(frozen=True)
class Foreign:
    """A dictionary of others that is asked for."""

    place: str
    """A folder, a file, or OWNER/NAME[/PATH][@REVISION] on the hub."""
    role: str
    format: str | None
    """None: as its files tell."""
    k: int | None = None
    layer: int | None = None
    """Of a folder that holds several."""


@dataclass(frozen=True)
class Options:
    """What only the user can know, each for some kinds."""

    model: str | None = None
    """Of which model, where a file holds features of several."""
    n_layers: int | None = None
    """Blocks of the model, where known: hidden states then have sites."""
    duplicates: Literal["max", "sum"] | None = None
    """Of two values for one row and feature; None refuses them."""
    k: int | None = None
    """Features that fire on a row, where a dictionary's file does not say."""
    labels: str | None = None
    """A file of labels, over those that come with the features."""
    max_features: int | None = None
    """Most features, drawn with the seed."""
    memory: int | None = None
    """Bytes for entries while a file of records is turned; None: as its reader likes."""
    search: str | None = None
    """What to search for where features are found by searching: the criterion's words."""
    url: str | None = None
    """Base address of the service, over the public one."""
    key_env: str | None = None
    """The environment variable that holds its key."""
    refresh: bool = False
    """Ask again for what the cache holds."""


def _none(reference: str, role: str) -> Any:
    raise UserError(f"no decomposition can be opened here: {reference}", where=role)


@dataclass(frozen=True)
class Parts:
    """What the runtime lends."""

    path: Callable[[str, str], Path]
    """Resolve, confine and hash a file or folder, under a role."""
    label: Callable[[str], str]
    """A reference without absolute folders."""
    cache: Callable[[], Path]
    """The folder for what is kept between runs."""
    dictionary: Callable[[str, str], Opened]
    """A dictionary of ours, by reference and role."""
    foreign: Callable[[Foreign], Opened]
    """A dictionary of others."""
    here: Callable[[str], bool]
    """Whether a text is a path that may be read here."""
    preferred: Callable[[Sequence[dict[str, Any]]], str | None]
    """Which of several explanations of others is shown."""
    record: Callable[[str, str, str, str], None]
    """Note an input that is no file: role, reference, kind, hash."""
    components: Callable[[str, str], Callable[[Any, Sequence[str]], Sequence[FeatureDictionary]]] = _none
    """A decomposition, by reference and role: codecs of its weights, given a model."""
    role: str = "features"
    seed: int = 0
    offline: bool = True
    options: Options = field(default_factory=Options)
