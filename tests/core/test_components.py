"""Addresses of weight components and nodes."""

import pytest

from radiograph.core import UserError
from radiograph.core.components import Component, Node, canonical_weight, in_order

NODES = ["down.3:17/5", "token/5", "position/5", "bias/5", "logit/9:373", "down.3/5:delta", "down.3/5:rest"]
SIZES = {"down.3": 18, "identity.up.3": 4}


@pytest.mark.parametrize("text", NODES)
def test_a_node_is_read_as_it_is_written(text):
    node = Node.parse(text, SIZES, 10)
    assert str(node) == text
    assert node.pseudo == (node.component is None) == (text != "down.3:17/5")


def test_a_component_of_an_inserted_identity():
    found = Component.parse("identity.up.3:2", SIZES)
    assert (found.weight, found.index, str(found)) == ("identity.up.3", 2, "identity.up.3:2")


def test_dd_22_names_of_modules_are_addresses_and_order_is_that_of_the_forward_pass():
    assert canonical_weight("model.layers.3.mlp.down_proj.weight") == "down.3"
    assert canonical_weight("transformer.h.1.attn.c_proj") == "o.1"
    assert canonical_weight("blocks.2.mlp.W_in") == "up.2"
    assert canonical_weight("lm_head") == "unembed"
    mixed = ["down.0", "unembed", "q.1", "o.0", "gate.0", "up.0", "identity.up.0", "v.0", "k.0", "q.0", "embed"]
    right = ["embed", "q.0", "k.0", "v.0", "o.0", "gate.0", "identity.up.0", "up.0", "down.0", "q.1", "unembed"]
    assert in_order(mixed) == right
    assert in_order(["w_out", "hidden.1", "hidden.0", "w_in"]) == ["w_in", "hidden.0", "hidden.1", "w_out"]


@pytest.mark.parametrize(
    ("read", "text", "named"),
    [
        (Component.parse, "down.3:18", "down.3:0 to down.3:17"),
        (Component.parse, "down.4:1", "is not decomposed"),
        (Component.parse, "down.3", "WEIGHT:NUMBER"),
        (Component.parse, "dwn.3:1", "down"),
        (Node.parse, "down.3:17", "token/5"),
        (Node.parse, "down.3:99/1", "the nearest is down.3:17"),
        (Node.parse, "up.3/1:rest", "is not decomposed"),
    ],
)
def test_malformed_or_outside_names_the_legal_range(read, text, named):
    with pytest.raises(UserError, match=named):
        read(text, SIZES)


def test_a_position_beyond_the_prompt():
    with pytest.raises(UserError, match="0 to 9"):
        Node.parse("token/10", SIZES, 10)
