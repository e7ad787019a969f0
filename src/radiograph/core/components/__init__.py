"""The address grammar of weight components: which rank-one piece of which matrix, and where it acted in a prompt.

    down.3:17           component 17 of a weight        identity.up.3:4   of an identity put in front of `up.3`
    down.3:17/5         a node: that component at position 5 of a prompt
    token/5 position/5 bias/5 logit/9:373 down.3/5:delta down.3/5:rest      pseudo-nodes: shown, never intervened on

Weights: `embed q.3 k.3 v.3 o.3 gate.3 up.3 down.3 unembed` of language models, `w_in hidden.N w_out` of toys. Module
paths of Hugging Face and TransformerLens are accepted as aliases and never written. Forward order is that of
`weight_order`, and two texts of one weight are one address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from radiograph.core.errors import UserError, nearest

NodeKind = Literal["component", "token", "position", "bias", "logit", "delta", "rest"]
LAYERED: Final = ("q", "k", "v", "o", "gate", "up", "down", "hidden")
UNLAYERED: Final = ("embed", "w_in", "w_out", "unembed")
_PLACE: Final = {kind: 2 * place + 1 for place, kind in enumerate(("hidden", "q", "k", "v", "o", "gate", "up", "down"))}
_BLOCK: Final = r"(?:model\.layers|transformer\.h|gpt_neox\.layers|layers|blocks|h)\.(\d+)\."
_NAMES: Final = (
    ("q", r"self_attn\.q_proj|attn\.W_Q"),
    ("k", r"self_attn\.k_proj|attn\.W_K"),
    ("v", r"self_attn\.v_proj|attn\.W_V"),
    ("o", r"self_attn\.(?:o_proj|dense)|attn\.(?:c_proj|W_O)|attention\.dense"),
    ("gate", r"mlp\.(?:gate_proj|W_gate)"),
    ("up", r"mlp\.(?:up_proj|c_fc|fc1|dense_h_to_4h|W_in)"),
    ("down", r"mlp\.(?:down_proj|c_proj|fc2|dense_4h_to_h|W_out)"),
)
_ALIASES: Final = (
    *((re.compile(_BLOCK + rf"(?:{names})(?:\.weight)?"), rf"{kind}.\1") for kind, names in _NAMES),
    (re.compile(r"(?:model\.embed_tokens|transformer\.wte|gpt_neox\.embed_in|embed\.W_E)(?:\.weight)?"), "embed"),
    (re.compile(r"(?:lm_head|embed_out|unembed\.W_U)(?:\.weight)?"), "unembed"),
)
_WEIGHT: Final = re.compile(rf"(?:identity\.)?(?:(?:{'|'.join(LAYERED)})\.\d+|{'|'.join(UNLAYERED)})")
_COMPONENT: Final = re.compile(r"(?P<weight>[^:/\s]+):(?P<index>\d+)")
_NODE: Final = re.compile(r"(?P<weight>[^:/\s]+):(?P<index>\d+)/(?P<position>\d+)")
_ERROR_NODE: Final = re.compile(r"(?P<weight>[^:/\s]+)/(?P<position>\d+):(?P<kind>delta|rest)")
_PLAIN: Final = re.compile(r"(?P<kind>token|position|bias)/(?P<position>\d+)")
_LOGIT: Final = re.compile(r"logit/(?P<position>\d+):(?P<index>\d+)")
_FORMS: Final = "down.3:17/5, token/5, position/5, bias/5, logit/9:373, down.3/5:delta, down.3/5:rest"


def canonical_weight(text: str) -> str:
    """The address of a weight, from itself or an alias.

    Raises:
        UserError: not an address.
    """
    text = text.strip()
    if _WEIGHT.fullmatch(text):
        return text
    for pattern, target in _ALIASES:
        match = pattern.fullmatch(text)
        if match:
            return match.expand(target)
    kind = text.removeprefix("identity.").split(".")[0]
    close = nearest(kind, [*LAYERED, *UNLAYERED])
    raise UserError(
        f"not the address of a weight: {text!r}",
        expected="q k v o gate up down with .LAYER, embed, unembed; w_in, hidden.N, w_out of a toy; identity.WEIGHT",
        fix=f"did you mean {', '.join(close)}?" if close else None,
        code="unknown_weight",
    )


def weight_order(address: str) -> tuple[int, int]:
    """Sort key along the forward pass: layer, then place in the block; an identity stands before its weight."""
    inner = address.removeprefix("identity.")
    kind, _, layer = inner.partition(".")
    before = int(inner != address)
    if not layer:
        return (-1, 1 - before) if kind in ("embed", "w_in") else (1 << 30, 1 - before)
    return int(layer), _PLACE[kind] - before


def in_order(addresses: Mapping[str, object] | list[str] | tuple[str, ...]) -> list[str]:
    """Addresses in forward order."""
    return sorted(addresses, key=weight_order)


@dataclass(frozen=True, slots=True)
class Component:
    """One rank-one piece of a weight. `str(component)` is its address."""

    weight: str
    index: int

    def __str__(self) -> str:
        return f"{self.weight}:{self.index}"

    @property
    def order(self) -> tuple[tuple[int, int], int]:
        """Sort key: forward order of weights, then number."""
        return weight_order(self.weight), self.index

    @classmethod
    def parse(cls, text: str, sizes: Mapping[str, int] | None = None) -> Component:
        """Read `down.3:17`; `sizes` is weight to number of components, where a decomposition is at hand.

        Raises:
            UserError: malformed, a weight that is not decomposed, or an index beyond its components.
        """
        match = _COMPONENT.fullmatch(text.strip())
        if match is None:
            raise _malformed(text, "component", "WEIGHT:NUMBER, as down.3:17")
        found = cls(canonical_weight(match["weight"]), int(match["index"]))
        if sizes is not None:
            check_component(found, sizes)
        return found


@dataclass(frozen=True, slots=True)
class Node:
    """Something at a position of a prompt: a component, or a pseudo-node. `str(node)` is its address.

    `index` is the component, or the token of a logit.
    """

    kind: NodeKind
    position: int
    weight: str | None = None
    index: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "component":
                return f"{self.weight}:{self.index}/{self.position}"
            case "logit":
                return f"logit/{self.position}:{self.index}"
            case "delta" | "rest":
                return f"{self.weight}/{self.position}:{self.kind}"
            case _:
                return f"{self.kind}/{self.position}"

    @property
    def pseudo(self) -> bool:
        """Whether it is shown alone and never intervened on."""
        return self.kind != "component"

    @property
    def component(self) -> Component | None:
        """The component, of a node that is one."""
        if self.kind != "component" or self.weight is None or self.index is None:
            return None
        return Component(self.weight, self.index)

    @classmethod
    def of(cls, weight: str, index: int, position: int) -> Node:
        """A component at a position."""
        return cls("component", position, weight, index)

    @classmethod
    def parse(cls, text: str, sizes: Mapping[str, int] | None = None, length: int | None = None) -> Node:
        """Read any node; `sizes` as for a component, `length` the number of positions of the prompt.

        Raises:
            UserError: malformed, or outside the decomposition or the prompt.
        """
        found = _read_node(text.strip())
        if length is not None and found.position >= length:
            raise UserError(
                f"node {text}: position {found.position} is beyond the prompt",
                expected=f"0 to {length - 1}",
                code="unknown_node",
            )
        if sizes is not None and found.weight is not None:
            if (component := found.component) is not None:
                check_component(component, sizes)
            elif found.weight not in sizes:
                raise _not_decomposed(found.weight, sizes)
        return found


def check_component(component: Component, sizes: Mapping[str, int]) -> None:
    """Refuse a component that a decomposition does not have.

    Raises:
        UserError: the weight is not decomposed, or has fewer components.
    """
    if component.weight not in sizes:
        raise _not_decomposed(component.weight, sizes)
    size = sizes[component.weight]
    if component.index >= size:
        raise UserError(
            f"no component {component}",
            expected=f"{component.weight}:0 to {component.weight}:{size - 1}",
            fix=f"the nearest is {component.weight}:{size - 1}",
            code="unknown_component",
        )


def _read_node(text: str) -> Node:
    if match := _NODE.fullmatch(text):
        return Node("component", int(match["position"]), canonical_weight(match["weight"]), int(match["index"]))
    if match := _ERROR_NODE.fullmatch(text):
        kind: NodeKind = "delta" if match["kind"] == "delta" else "rest"
        return Node(kind, int(match["position"]), canonical_weight(match["weight"]))
    if match := _LOGIT.fullmatch(text):
        return Node("logit", int(match["position"]), index=int(match["index"]))
    if match := _PLAIN.fullmatch(text):
        return Node({"token": "token", "position": "position"}.get(match["kind"], "bias"), int(match["position"]))  # type: ignore[arg-type]
    raise _malformed(text, "node", _FORMS)


def _malformed(text: str, what: str, forms: str) -> UserError:
    return UserError(f"not the address of a {what}: {text!r}", expected=forms, code=f"bad_{what}")


def _not_decomposed(weight: str, sizes: Mapping[str, int]) -> UserError:
    close = nearest(weight, list(sizes))
    return UserError(
        f"{weight} is not decomposed",
        expected="one of " + ", ".join(in_order(sizes)),
        fix=f"did you mean {', '.join(close)}?" if close else None,
        code="unknown_component",
    )
