"""The names that other libraries give to places, and ours.

    blocks.6.hook_resid_post            resid_post.6        model.layers.6 · model.layers.6.output
    blocks.6.hook_mlp_in                resid_mid.6         the stream before the MLP's norm
    blocks.6.ln2.hook_normalized        resid_mid.6, n      normalised, before the gain
    blocks.6.mlp.hook_in                mlp_in.6            what the MLP's first matrices receive
    blocks.6.attn.hook_z                attn_z.6            model.layers.6.self_attn.o_proj.input

Three hooks before the MLP are three tensors, so each has its own line. What is normalised before the gain is the
stream with a row-wise normalisation n: `unit_rms` where the model divides by the root mean square, `layer_norm` where
it subtracts the mean first. `hidden_states[i + 1]` is resid_post.i, but for the last, which is after the final norm.
"""

from __future__ import annotations

import re

from radiograph.core import Site, Source, UserError, canonical
from radiograph.dictionaries._document import Normalisation

_BLOCK = r"(?:model\.layers|model\.language_model\.layers|transformer\.h|gpt_neox\.layers|layers|h)\.(\d+)"
_NAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        (r"blocks\.(\d+)\.hook_mlp_in", r"resid_mid.\1"),
        (r"blocks\.(\d+)\.hook_attn_in", r"resid_pre.\1"),
        (r"blocks\.(\d+)\.(?:hook_z|attn\.hook_z)", r"attn_z.\1"),
        (r"blocks\.(\d+)\.mlp\.hook_out", r"mlp_out.\1"),
        (r"blocks\.0\.hook_embed", "embed"),
        (_BLOCK + r"\.output", r"resid_post.\1"),
        (_BLOCK + r"\.input", r"resid_pre.\1"),
        (_BLOCK + r"\.mlp\.(?:input|(?:up_proj|gate_proj|c_fc|fc1|dense_h_to_4h)\.input)", r"mlp_in.\1"),
        (_BLOCK + r"\.mlp\.(?:down_proj|c_proj|fc2|dense_4h_to_h)\.input", r"mlp_hidden.\1"),
        (_BLOCK + r"\.mlp\.output", r"mlp_out.\1"),
        (_BLOCK + r"\.pre_feedforward_layernorm\.output", r"mlp_in.\1"),
        (_BLOCK + r"\.post_feedforward_layernorm\.output", r"mlp_out.\1"),
        (_BLOCK + r"\.(?:self_attn\.o_proj|attn\.c_proj|self_attn\.dense|attention\.dense)\.input", r"attn_z.\1"),
        (_BLOCK + r"\.(?:self_attn|attn|attention)\.output", r"attn_out.\1"),
    )
)
_NORMALISED = re.compile(r"blocks\.(\d+)\.ln([12])\.hook_normalized")
_HOOKS = {
    "embed": "hook_embed",
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_mid": "blocks.{}.hook_resid_mid",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_z": "blocks.{}.attn.hook_z",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_in": "blocks.{}.mlp.hook_in",
    "mlp_hidden": "blocks.{}.mlp.hook_post",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "final_norm": "ln_final.hook_normalized",
}


def place_of(name: str, *, head: int | None = None, rms: bool = True) -> tuple[str, Normalisation]:
    """The site of a TransformerLens hook, module path or address, and what is done to its rows first.

    `head` makes it one head of `attn_z`; `rms` says which norm the model has, where a hook lies inside one.

    Raises:
        UserError: `unknown_site`.
    """
    text = name.strip()
    inside = _NORMALISED.fullmatch(text)
    if inside:
        stream = "resid_pre" if inside[2] == "1" else "resid_mid"
        return f"{stream}.{inside[1]}", "unit_rms" if rms else "layer_norm"
    for pattern, target in _NAMES:
        match = pattern.fullmatch(text)
        if match:
            text = match.expand(target)
            break
    text = canonical(text)
    if "/" in text:
        return str(Source.parse(text)), "none"
    site = Site.parse(text)
    if head is not None:
        site = Site.parse(f"{site}.h{head}")
    return str(site), "none"


def hook_of(address: str) -> tuple[str, int | None]:
    """The TransformerLens hook of a site, and the head where it is one.

    Raises:
        UserError: a source of another model than the reference.
    """
    source = Source.parse(address)
    if source.role != "reference":
        raise UserError("a hook name has no role", got=address)
    return _HOOKS[source.site.kind].format(source.site.layer), source.site.head
