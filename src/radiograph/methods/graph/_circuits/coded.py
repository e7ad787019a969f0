"""The prompt of a graph that another program wrote, with the dictionaries that its features are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from radiograph.core import Context, Refusal, Site, UserError
from radiograph.evidence.graphs import AttributionGraph
from radiograph.methods.graph._circuits.imported import kind_of
from radiograph.methods.graph._circuits.opened import token_text

if TYPE_CHECKING:
    from radiograph.core.codec import Codec
    from radiograph.decompose.circuits import Coded
    from radiograph.dictionaries import Dictionary
    from radiograph.models import LanguageModel


@dataclass(frozen=True, eq=False)
class CodedCase:
    """A prompt whose nodes are features of dictionaries."""

    prompt: Coded
    model: LanguageModel
    text: str
    tokens: tuple[str, ...]
    """Texts of tokens."""
    name: str
    """Of the model, as it may be written."""
    sha256: str
    """Of the dictionaries."""

    def token(self, index: int) -> str:
        """A token's text."""
        return token_text(self.model, index)


def coded_case(
    ctx: Context, given: tuple[str, ...], model: str | None, ids: tuple[int, ...], document: AttributionGraph
) -> CodedCase:
    """Load the model and its dictionaries.

    Raises:
        UserError: no model; no SITE=DICTIONARY; two of one layer.
        Refusal: `dictionary_missing` of a layer that the graph has features of; `dictionary_mismatch`.
    """
    from radiograph.decompose.circuits import Coded
    from radiograph.models.masked import of_model

    if model is None:
        raise UserError(
            "whose features these are is not known",
            where="--model",
            expected="the model that the graph was made of",
            got=f"a graph of {document.metadata['scan']}",
            code="no_model",
        )
    loaded = ctx.model(model, "model")
    codecs = _codecs(ctx, given, loaded)
    wanted = {node.layer for node in document.nodes if kind_of(node) == "component"}
    missing = sorted(wanted - {str(layer) for layer in codecs}, key=lambda layer: (len(layer), layer))
    if missing:
        raise Refusal(
            "dictionary_missing",
            "the graph has features of layers that no dictionary is given for",
            expected=f"dictionaries of layers {', '.join(missing)}",
            got=", ".join(given),
            fix="--dictionary SITE=REF for every layer",
        )
    prompt = Coded.of(of_model(loaded), codecs, ids)
    tokens = tuple(token_text(loaded, one) for one in ids)
    together = sha256("".join(codec.hash for codec in prompt.codecs.values()).encode()).hexdigest()
    return CodedCase(prompt, loaded, "".join(tokens), tokens, ctx.label(model), together)


def _codecs(ctx: Context, given: tuple[str, ...], model: LanguageModel) -> Mapping[int, Codec]:
    found: dict[int, Codec] = {}
    for text in given:
        site, equals, reference = text.partition("=")
        if not equals or not site or not reference:
            raise UserError(
                f"{text!r} is no dictionary of a site",
                where="--dictionary",
                expected="SITE=DICTIONARY, as resid_post.1=dictionary:bundled",
                code="bad_value",
            )
        layer = Site.parse(site).layer
        if layer is None:
            raise UserError(
                f"{site} is of no layer, and features of graphs are", where="--dictionary", code="unknown_site"
            )
        if layer in found:
            raise UserError(
                f"two dictionaries of layer {layer}",
                where="--dictionary",
                expected="one: a graph names features by their layer alone",
                code="duplicate",
            )
        dictionary = ctx.dictionary(reference)
        _require(dictionary, Site.parse(site), model, reference)
        found[layer] = dictionary
    return found


def _require(dictionary: Dictionary, site: Site, model: LanguageModel, reference: str) -> None:
    """It reads one site of this model and writes one, one of which is the named one, and was made for this model."""
    places = [*dictionary.sites, *dictionary.targets]
    stated, own = dictionary.metadata.model, model.identity.tensors_sha256
    hashed = None if stated is None else stated.tensors_sha256
    plain = len(dictionary.sites) == len(dictionary.targets) == 1 and not any("/" in place for place in places)
    widths = (dictionary.width, dictionary.target_width) if plain else (0, 0)
    fits = plain and widths == tuple(model.site_width(model.sites(place)[0]) for place in places)
    if not fits or str(site) not in places or hashed != own:
        raise Refusal(
            "dictionary_mismatch",
            f"{reference} is no dictionary of {site} of this model",
            expected=f"model {own}, a site read and a site written, of the model's widths, {site} among them",
            got=f"model {hashed or 'unknown'}, {' → '.join(dict.fromkeys(places))} of width {dictionary.width}",
            fix="give the model that it was trained on, or a dictionary of this one",
            fixable=True,
        )
