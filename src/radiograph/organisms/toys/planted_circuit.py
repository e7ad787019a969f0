"""A language model that was constructed, not trained, so that its rank-one terms and its circuits are known.

A two-layer Llama over twelve words. Residual dimensions carry one thing each; a large constant (`BALLAST`) in dimension
0 keeps every norm's denominator the same to 1e-6, so that blocks are linear in what components write, and opens every
gate by the same amount.

    a      moved by attention from `a` to what follows it (v.0, o.0), then read and written on by up.0, down.0, up.1,
           down.1: logit of `yes` +12. One path, six nodes
    b      the same on two paths of its own position: each suffices
    c      64 terms of down.1 that write ±.25 to the same logit, in cancelling pairs: silent together, and worth
           8 to an adversary who may take one of each pair
    decoys read what `a` brought and write to the logit of another word: alive, and no part of the answer

Units: logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from radiograph.core.shapes import Float
from radiograph.organisms.toys.copying import save_words

VOCABULARY: Final = ("<pad>", "<bos>", "a", "b", "c", "x", "y", "z", "yes", "no", "other", "none")
PAIRS, PUSH, ANSWER, DECOYS = 32, 0.25, 12.0, 4
BALLAST: Final = 1e4
_A, _B, _C, _MOVED, _MID_A, _MID_B1, _MID_B2, _MID_C, _YES, _OTHER, _DECOY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
_WIDTH, _HEADS, _MLP, _GATE = 16, 1, 76, 10.0
Terms = tuple[tuple[Mapping[int, float], Mapping[int, float]], ...]
"""Of a weight: what each term reads and writes, by dimension."""


@dataclass(frozen=True, eq=False)
class Planted:
    """The network, its terms, and which of them carry an answer."""

    network: LlamaForCausalLM
    reads: dict[str, Float[Tensor, "input component"]]
    writes: dict[str, Float[Tensor, "component output"]]
    circuits: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """Prompt to its paths, each as nodes."""
    pairs: tuple[str, ...] = ()
    """Components of the cancelling pairs."""
    decoys: tuple[str, ...] = ()


def terms() -> dict[str, Terms]:
    """Every rank-one term of every decomposed weight."""
    decoys = range(DECOYS)
    pair_units = {4 + n: 1.0 for n in range(2 * PAIRS)}
    first = 4 + 2 * PAIRS
    return {
        "v.0": (({_A: 1.0}, {0: 1.0}),),
        "o.0": (({0: 1.0}, {_MOVED: 1.0}),),
        "up.0": (
            ({_MOVED: 1.0}, {0: 1.0}),
            ({_B: 1.0}, {1: 1.0}),
            ({_B: 1.0}, {2: 1.0}),
            ({_C: 1.0}, {3: 1.0}),
            *(({_MOVED: 1.0}, {4 + n: 1.0}) for n in decoys),
        ),
        "down.0": (
            ({0: 1.0}, {_MID_A: 1.0}),
            ({1: 1.0}, {_MID_B1: 1.0}),
            ({2: 1.0}, {_MID_B2: 1.0}),
            ({3: 1.0}, {_MID_C: 1.0}),
            *(({4 + n: 1.0}, {_DECOY + n: 1.0}) for n in decoys),
        ),
        "up.1": (
            ({_MID_A: 1.0}, {0: 1.0}),
            ({_MID_B1: 1.0}, {1: 1.0}),
            ({_MID_B2: 1.0}, {2: 1.0}),
            ({_MID_C: 1.0}, pair_units),
            *(({_DECOY + n: 1.0}, {first + n: 1.0}) for n in decoys),
        ),
        "down.1": (
            ({0: 1.0}, {_YES: ANSWER}),
            ({1: 1.0}, {_YES: ANSWER}),
            ({2: 1.0}, {_YES: ANSWER}),
            *(({4 + n: 1.0}, {_YES: PUSH * (1 - 2 * (n % 2))}) for n in range(2 * PAIRS)),
            *(({first + n: 1.0}, {_OTHER: 0.25}) for n in decoys),
        ),
    }


def planted() -> Planted:
    """Build it."""
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        intermediate_size=_MLP,
        max_position_embeddings=16,
        tie_word_embeddings=False,
        rms_norm_eps=1e-5,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    network = LlamaForCausalLM(config).eval()
    reads, writes = _factors(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        _frame(network)
        for weight, own in reads.items():
            _module(network, weight).weight.copy_((own @ writes[weight]).T)
    path_a = ("v.0:0/1", "o.0:0/2", "up.0:0/2", "down.0:0/2", "up.1:0/2", "down.1:0/2")
    paths_b = tuple((f"up.0:{n}/2", f"down.0:{n}/2", f"up.1:{n}/2", f"down.1:{n}/2") for n in (1, 2))
    return Planted(
        network,
        reads,
        writes,
        {"a x": (path_a,), "a c": (path_a,), "x b": paths_b},
        tuple(f"down.1:{3 + n}" for n in range(2 * PAIRS)),
        tuple(
            name
            for n in range(DECOYS)
            for name in (f"up.0:{4 + n}", f"down.0:{4 + n}", f"up.1:{4 + n}", f"down.1:{3 + 2 * PAIRS + n}")
        ),
    )


def save_planted(folder: Path) -> None:
    """Write the model as plain Hugging Face files."""
    save_words(planted().network, folder, VOCABULARY)


def _factors(network: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    reads: dict[str, Tensor] = {}
    writes: dict[str, Tensor] = {}
    for weight, own in terms().items():
        outputs, inputs = _module(network, weight).weight.shape
        # What a unit holds is what `up` gave it times the open gate, which `down` takes off again.
        scale = 1 / float(torch.nn.functional.silu(torch.tensor(_GATE))) if weight.startswith("down") else 1.0
        v, u = torch.zeros(inputs, len(own)), torch.zeros(len(own), outputs)
        for number, (read, write) in enumerate(own):
            for place, value in read.items():
                v[place, number] = value
            for place, value in write.items():
                u[number, place] = value * scale
        reads[weight], writes[weight] = v, u
    return reads, writes


def _module(network: Any, weight: str) -> Any:
    kind, _, layer = weight.partition(".")
    block = network.model.layers[int(layer)]
    return getattr(block.self_attn if kind in "qkvo" else block.mlp, f"{kind}_proj")


def _frame(network: Any) -> None:
    """What is not decomposed: words, norms that change nothing, open gates, attention to `a`, logits."""
    size = BALLAST / _WIDTH**0.5
    words = network.model.embed_tokens.weight
    words[:, 0] = BALLAST
    for word, place in (("a", _A), ("b", _B), ("c", _C)):
        words[VOCABULARY.index(word), place] = 1.0
    norms = [
        network.model.norm,
        *(n for b in network.model.layers for n in (b.input_layernorm, b.post_attention_layernorm)),
    ]
    for norm in norms:
        norm.weight.fill_(size)
        norm.weight[0] = size / BALLAST
    for block in network.model.layers:
        block.mlp.gate_proj.weight[:, 0] = _GATE
    attention = network.model.layers[0].self_attn
    # The slowest pair of rotary dimensions hardly turns: a query for what `a` shows, wherever it stands.
    slow = _WIDTH // _HEADS // 2 - 1
    attention.q_proj.weight[slow, 0] = 40.0
    attention.k_proj.weight[slow, _A] = 4.0
    network.lm_head.weight[VOCABULARY.index("yes"), _YES] = 1.0
    network.lm_head.weight[VOCABULARY.index("other"), _OTHER] = 1.0
