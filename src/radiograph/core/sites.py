"""The address grammar: where in a transformer activations are read or written, and which matrix is meant.

    embed · resid_pre.6 · resid_mid.6 · resid_post.6 · attn_z.6 (one head: attn_z.6.h3) · attn_out.6
    mlp_in.6 · mlp_hidden.6 · mlp_out.6 · final_norm

`attn_out` and `mlp_out` are what is added to the residual stream (after a post-norm where the model has one).
`mlp_in` is what the first matrices of the MLP receive: after the norm and its gain. Ranges `resid_post.4-8`,
lists `resid_post.{3,6}`, and `resid_post.*` expand against a layer count; negative layers count from the end.
TransformerLens hook names, Hugging Face module paths and NNsight paths are accepted as aliases and never written.
Weights: `embed` `q.3` `k.3` `v.3` `o.3` `gate.3` `up.3` `down.3` `unembed`.
Where rows of several models stand side by side, a source is a site of one of them: `candidate/resid_post.6`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from radiograph.core.errors import UserError, nearest

SiteKind = Literal[
    "embed",
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_z",
    "attn_out",
    "mlp_in",
    "mlp_hidden",
    "mlp_out",
    "final_norm",
]
REFERENCE = "reference"
KINDS: tuple[str, ...] = get_args(SiteKind)
UNLAYERED = frozenset({"embed", "final_norm"})
# Depth of each kind inside its block, in the order in which a pre-norm block computes them.
_IN_BLOCK = ("resid_pre", "attn_z", "attn_out", "resid_mid", "mlp_in", "mlp_hidden", "mlp_out", "resid_post")
_ORDER = {kind: place for place, kind in enumerate(_IN_BLOCK)}
_BLOCK = r"(?:model\.layers|transformer\.h|gpt_neox\.layers|layers|h)\.(\d+)"

_ALIASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        (r"hook_embed", "embed"),
        (r"blocks\.(\d+)\.hook_(resid_pre|resid_mid|resid_post|attn_out|mlp_out)", r"\2.\1"),
        (r"blocks\.(\d+)\.attn\.hook_z", r"attn_z.\1"),
        (r"blocks\.(\d+)\.mlp\.hook_in", r"mlp_in.\1"),
        (r"blocks\.(\d+)\.mlp\.hook_post", r"mlp_hidden.\1"),
        (r"ln_final\.hook_normalized", "final_norm"),
        (_BLOCK, r"resid_post.\1"),
        (_BLOCK + r"\.mlp", r"mlp_out.\1"),
        (_BLOCK + r"\.(?:self_attn|attn|attention)", r"attn_out.\1"),
        (r"model\.embed_tokens|transformer\.wte|gpt_neox\.embed_in", "embed"),
        (r"model\.norm|transformer\.ln_f|gpt_neox\.final_layer_norm", "final_norm"),
    )
)
_SITE = re.compile(r"(?P<kind>[a-z_]+)(?:\.(?P<layer>\d+)(?:\.h(?P<head>\d+))?)?")
_ROLE = re.compile(r"reference|candidate(?:[2-9]|[1-9]\d+)?")
_NNSIGHT = re.compile(r"\.output(?:\[0\])?$")
_BRACKET = re.compile(r"\[(\d+)\]")
_RANGE = re.compile(
    r"(?P<kind>[a-z_]+)\."
    r"(?:(?P<star>\*)|(?P<from>\d+)-(?P<to>\d+)|\{(?P<list>-?\d+(?:,-?\d+)*)\}|(?P<neg>-\d+))"
)
_HIDDEN = re.compile(r"L(\d+):D(\d+)")
_MARKS = re.compile(r"[\[:@~]")
_FEATURE = re.compile(
    r"(?P<site>[^\s~@#]+?)"
    r"(?:\[(?P<unit>\d+)\]|:D(?P<dimension>\d+)|@(?P<dictionary>[0-9a-f]{8})#(?P<latent>\d+)|~(?P<direction>[^\s:@~]+))"
)


@dataclass(frozen=True, slots=True)
class Site:
    """One place in a forward pass. `str(site)` is its address; equal addresses are equal sites."""

    kind: SiteKind
    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        text = self.kind if self.layer is None else f"{self.kind}.{self.layer}"
        return text if self.head is None else f"{text}.h{self.head}"

    @property
    def depth(self) -> tuple[int, int]:
        """Sort key along the forward pass; the deepest site decides where a truncated forward stops."""
        if self.kind == "embed":
            return (-1, 0)
        if self.kind == "final_norm":
            return (1 << 30, 0)
        assert self.layer is not None
        return (self.layer, _ORDER[self.kind])

    @classmethod
    def parse(cls, text: str) -> Site:
        """Read one address or alias; a range is an error here (see `expand`).

        Raises:
            UserError: unknown kind, or a layer or head missing or where none belongs.
        """
        address = canonical(text)
        match = _SITE.fullmatch(address)
        if match is None or match["kind"] not in KINDS:
            kind = address.split(".")[0]
            close = nearest(kind, list(KINDS))
            raise UserError(
                f"unknown site {text!r}",
                expected="one of " + ", ".join(KINDS) + ", with .LAYER where it has one",
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_site",
            )
        kind, layer, head = match["kind"], match["layer"], match["head"]
        if (layer is None) != (kind in UNLAYERED):
            need = "no layer" if kind in UNLAYERED else "a layer, as in resid_post.6"
            raise UserError(f"site {text!r} needs {need}", code="unknown_site")
        if head is not None and kind != "attn_z":
            raise UserError(f"site {text!r}: only attn_z has heads", code="unknown_site")
        return cls(kind, None if layer is None else int(layer), None if head is None else int(head))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Source:
    """A site of one of the models that ran on the same tokens. `str(source)` always names the role."""

    site: Site
    role: str = REFERENCE

    def __str__(self) -> str:
        return f"{self.role}/{self.site}"

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read `[ROLE/]SITE`; without a role it is the reference.

        Raises:
            UserError: an unknown role or site.
        """
        role, slash, address = text.strip().rpartition("/")
        role = role if slash else REFERENCE
        if _ROLE.fullmatch(role) is None:
            raise UserError(
                f"unknown role in source {text!r}",
                expected="reference/SITE, candidate/SITE, candidate2/SITE, …",
                got=role,
                code="unknown_source",
            )
        return cls(Site.parse(address), role)


def canonical(text: str) -> str:
    """The radiograph address of a hook name, a module path or an NNsight path, or the text itself."""
    text = text.strip()
    path = _BRACKET.sub(r".\1", _NNSIGHT.sub("", text))
    for pattern, target in _ALIASES:
        match = pattern.fullmatch(path)
        if match:
            return match.expand(target)
    return text


def expand(text: str, n_layers: int) -> list[Site]:
    """All sites that an address, list, range or `*` names in a model of `n_layers` blocks, in forward order.

    Raises:
        UserError: unknown kind, an empty range, or a layer outside the model.
    """
    match = _RANGE.fullmatch(canonical(text))
    if match is None:
        sites = [Site.parse(text)]
    else:
        if match["star"]:
            layers = list(range(n_layers))
        elif match["list"]:
            layers = [int(x) for x in match["list"].split(",")]
        elif match["neg"]:
            layers = [int(match["neg"])]
        else:
            layers = list(range(int(match["from"]), int(match["to"]) + 1))
        sites = [Site.parse(f"{match['kind']}.{n_layers + x if x < 0 else x}") for x in layers]
    if not sites:
        raise UserError(f"site range {text!r} is empty", expected="LOW-HIGH with LOW <= HIGH", code="unknown_site")
    for site in sites:
        if site.layer is not None and not 0 <= site.layer < n_layers:
            raise UserError(
                f"site {site} is outside the model",
                expected=f"a layer from 0 to {n_layers - 1}",
                got=str(site.layer),
                code="unknown_site",
            )
    return sorted(set(sites), key=lambda s: (*s.depth, s.head if s.head is not None else -1))


def hidden_state(number: int, n_layers: int) -> Site:
    """The site of one of the hidden states that Hugging Face models return, `n_layers + 1` of them.

    State i is what block i receives, so state 0 is `resid_pre.0`; the last is after the final norm.

    Raises:
        UserError: no such state.
    """
    if not 0 <= number <= n_layers:
        raise UserError(f"no hidden state {number}", expected=f"0 to {n_layers}", code="unknown_site")
    return Site("final_norm") if number == n_layers else Site("resid_pre", number)


@dataclass(frozen=True, slots=True)
class FeatureAddress:
    """One feature: a unit `SITE[n]`, a latent `SITE@DICT8#n`, or a direction `SITE~NAME`.

    The site of a dictionary that reads several is `SITE+SITE`.
    """

    site: str
    unit: int | None = None
    dictionary: str | None = None
    """First 8 hex digits of the dictionary's hash."""
    latent: int | None = None
    direction: str | None = None

    def __str__(self) -> str:
        if self.unit is not None:
            return f"{self.site}[{self.unit}]"
        if self.direction is not None:
            return f"{self.site}~{self.direction}"
        return f"{self.site}@{self.dictionary}#{self.latent}"

    @classmethod
    def parse(cls, text: str, n_layers: int | None = None) -> FeatureAddress | None:
        """Read an address or an alias of one; None for a foreign id, which stays as it is.

        `L6:D373` is unit 373 of hidden state 6. Which state is the last only `n_layers` says: without it such an id
        is foreign.
        """
        if match := _HIDDEN.fullmatch(text):
            number = int(match[1])
            if n_layers is None or number > n_layers:
                return None
            return cls(str(hidden_state(number, n_layers)), unit=int(match[2]))
        match = _FEATURE.fullmatch(text) if _MARKS.search(text) else None
        if match is None:
            return None
        site = _sites_of(match["site"])
        if site is None:
            return None
        unit = match["unit"] or match["dimension"]
        if unit is not None:
            return cls(site, unit=int(unit))
        if match["direction"] is not None:
            return cls(site, direction=match["direction"])
        return cls(site, dictionary=match["dictionary"], latent=int(match["latent"]))


def _sites_of(text: str) -> str | None:
    try:
        sources = [(part, Source.parse(part)) for part in text.split("+")]
    except UserError:
        return None
    return "+".join(str(source) if "/" in part else str(source.site) for part, source in sources)
