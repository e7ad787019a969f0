"""Activations through TransformerLens: its bridge around the same network, its hook points, its cache.

    embed, resid_pre.i   blocks.i.hook_in          resid_post.i   blocks.i.hook_out
    resid_mid.i          blocks.i.ln2.hook_in      mlp_in.i       blocks.i.mlp.hook_in
    attn_z.i             blocks.i.attn.o.hook_in   mlp_hidden.i   blocks.i.mlp.out.hook_in
    attn_out.i           blocks.i.hook_attn_out    mlp_out.i      blocks.i.hook_mlp_out
    final_norm           ln_final.hook_out

The bridge replaces modules of the network in place. Weights are not processed: no norm is folded, nothing is centred.
Layers above the deepest site do not run.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

import torch

from radiograph.core import Refusal, Site, require
from radiograph.models._batching import Batch
from radiograph.models._hooks import Activations
from radiograph.models._model import LanguageModel

_HOOKS: Final = {
    "embed": "blocks.0.hook_in",
    "resid_pre": "blocks.{}.hook_in",
    "resid_mid": "blocks.{}.ln2.hook_in",
    "resid_post": "blocks.{}.hook_out",
    "attn_z": "blocks.{}.attn.o.hook_in",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_in": "blocks.{}.mlp.hook_in",
    "mlp_hidden": "blocks.{}.mlp.out.hook_in",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "final_norm": "ln_final.hook_out",
}


def bridged(model: LanguageModel) -> Any:
    """A reader of `model` through the bridge.

    Raises:
        MissingExtra: not installed. Refusal: a model with an adapter, or one that the bridge does not know.
    """
    library = require("transformer_lens.model_bridge", extra="transformerlens")
    if model.adapter_on:
        raise Refusal(
            "backend_absent",
            "TransformerLens does not run a model with an adapter",
            fix="merge the adapter, or use --backend hf",
            fixable=True,
        )
    _ = model.identity  # of the weights by the names that they had
    tokenizer = copy.deepcopy(model.tokenizer)
    if tokenizer is not None:
        tokenizer.bos_token = None  # else the bridge would load it again by its name; token ids alone are fed
    try:
        bridge = library.TransformerBridge.boot_transformers(
            str(model.ref), hf_model=model.model, tokenizer=tokenizer, device=str(model.device), dtype=model.dtype
        )
    except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise Refusal(
            "backend_absent",
            "TransformerLens cannot run this model",
            got=str(error).splitlines()[0][:300],
            fix="use --backend hf",
            fixable=True,
        ) from error
    bridge.eval()

    def read(_: LanguageModel, batch: Batch, sites: Sequence[Site]) -> Activations:
        names = {site: _HOOKS[site.kind].format(site.layer) for site in sites}
        above = max(0, *(site.depth[0] for site in sites)) + 1
        stop = above if above < model.n_layers else None
        with torch.inference_mode():
            _, cache = bridge.run_with_cache(
                batch.to(model.device).ids,
                return_cache_object=False,
                names_filter=sorted(set(names.values())),
                stop_at_layer=stop,
            )
        out: Activations = {}
        for site, name in names.items():
            value = cache[name]
            value = value.flatten(2) if value.ndim == 4 else value
            columns = model.architecture.point(site).columns
            out[site] = value if columns is None else value[..., columns]
        return out

    return read
