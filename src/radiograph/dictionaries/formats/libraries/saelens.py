"""SAELens 6: a folder with `cfg.json` and `sae_weights.safetensors`.

    W_enc [d, F]   W_dec [F, d_out]   b_enc [F]   b_dec [d_out]          read:  E = W_encᵀ, D = W_dec, g = b_dec
    threshold [F]  b_gate b_mag r_mag [F]  W_skip [d_out, d_in]                 c = b_dec iff apply_b_dec_to_input

1. `architecture`: standard → relu; topk, abstopk, jumprelu, gated, matching_pursuit; the transcoders with and without
   skip. What batch-top-k and Matryoshka trained arrives as jumprelu; their checkpoints hold a scalar `topk_threshold`
   in units of π, or of π · ‖D‖ where `rescale_acts_by_decoder_norm`. Old jumprelu checkpoints hold `log_threshold`
2. `normalize_activations`: none · layer_norm · constant_norm_rescale (unit_rms) · expected_average_only_in, whose
   factor is not in the file · covariance_whitening, refused. A transcoder does not undo them
3. `rescale_acts_by_decoder_norm`: features are compared, and given, in units of what they write
4. pursuit: b_dec enters both ends or neither; the encoder is the decoder
5. the site is `hook_name` under `metadata`, `hf_hook_name` where there is one; `hook_head_index` makes it one head.
   A model that was loaded with `center_writing_weights` has a stream without mean: n is `centre`
`sparsity.safetensors`, log10 of how often each feature fired, gives the L0 that the file records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from radiograph.core import FormatError, Site
from radiograph.core import Source as Address
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._document import Normalisation
from radiograph.dictionaries.formats import (
    Imported,
    Ledger,
    Options,
    Recorded,
    Source,
    build,
    cannot_express,
    hook_of,
    place_of,
    unsettled,
    without_input_bias,
)

NAME: Final = "saelens"
CONFIG, WEIGHTS, SPARSITY = "cfg.json", "sae_weights.safetensors", "sparsity.safetensors"
VERSION: Final = "6.0.0"
SMALLEST: Final = 1e-30
"""A residual threshold of 0 never stops a pursuit; ours must be above 0."""

SIGMAS: Final = {
    "standard": "relu",
    "topk": "topk",
    "abstopk": "abstopk",
    "jumprelu": "jumprelu",
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
    "gated": "gated",
    "matching_pursuit": "pursuit",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
_NORMALISATIONS: Final[dict[str, Normalisation]] = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "unit_rms",
    "expected_average_only_in": "none",
}
_TRAINING: Final = (
    *("dtype", "device", "decoder_init_norm", "l0_*", "l1_*", "lp_norm", "aux_loss_*", "use_sparse_activations"),
    *("topk_threshold_lr", "matryoshka_*", "use_matryoshka_*", "include_*", "jumprelu_*", "pre_act_*", "target_l0"),
    *("detach_*", "skip_outer_*", "use_error_term"),
)
_LAYER_NORM_MODELS: Final = (
    "gpt2",
    "gpt-2",
    "pythia",
    "gpt-neo",
    "gpt_neo",
    "opt-",
    "bloom",
    "solu",
    "gelu",
    "attn-only",
)


@dataclass(frozen=True)
class Settings:
    """What `cfg.json` says that decides a function, in either major version."""

    architecture: str
    width: int
    size: int
    target_width: int
    subtract: bool
    normalise: str
    hook: str | None
    where: str
    hook_out: str | None = None
    head: int | None = None
    head_out: int | None = None
    k: int | None = None
    by_norm: bool = False
    residual_threshold: float = 0.01
    max_iterations: int | None = None
    model: str | None = None
    prepend_bos: bool | None = None
    centred: bool = False
    write_factor: Tensor | None = None

    @property
    def transcodes(self) -> bool:
        """Whether it writes another site than it reads."""
        return "transcoder" in self.architecture


def major(config: Any) -> int:
    """The major version that wrote a configuration; 0 if it does not say."""
    inside = config.get("metadata")
    version = inside.get("sae_lens_version") if isinstance(inside, dict) else None
    first = str(version or config.get("sae_lens_version") or "").partition(".")[0]
    return int(first) if first.isdigit() else 0


def folders(source: Source) -> list[str]:
    """The folders of a source that hold both files, as prefixes of names."""
    found = [name.removesuffix(CONFIG) for name in source.names if name.split("/")[-1] == CONFIG]
    return [prefix for prefix in found if prefix + WEIGHTS in source]


def detect(source: Source) -> bool:
    """Both files, written by version 6 or later."""
    found = folders(source)
    return bool(found) and all(major(source.peek(prefix + CONFIG)) >= 6 for prefix in found)


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a folder."""
    for prefix in folders(source) or [""]:
        settings = _settings(source.document(prefix + CONFIG))
        yield assemble(source, prefix, source.tensors(prefix + WEIGHTS), settings, options)


def _settings(config: Ledger) -> Settings:
    meta = config.part("metadata", {})
    config.ignore(*_TRAINING)
    config.expect("reshape_activations", "none", "hook_z")
    architecture = str(config.take("architecture"))
    if architecture not in SIGMAS:
        raise FormatError(
            f"architecture {architecture!r}", where=f"{config.where}: architecture", expected=", ".join(SIGMAS)
        )
    if architecture == "matching_pursuit":
        config.expect("stop_on_duplicate_support", True)
    width = config.integer("d_in")
    settings = Settings(
        architecture=architecture,
        width=width,
        size=config.integer("d_sae"),
        target_width=config.integer("d_out") if "d_out" in config else width,
        subtract=bool(config.take("apply_b_dec_to_input", True)),
        normalise=str(config.take("normalize_activations", "none")),
        hook=meta.take("hf_hook_name", None) or meta.take("hook_name", None),
        hook_out=meta.take("hf_hook_name_out", None) or meta.take("hook_name_out", None),
        head=meta.take("hook_head_index", None),
        head_out=meta.take("hook_head_index_out", None),
        k=_k(config),
        by_norm=bool(config.take("rescale_acts_by_decoder_norm", False)),
        residual_threshold=config.number("residual_threshold") if "residual_threshold" in config else 0.01,
        max_iterations=config.take("max_iterations", None),
        model=meta.take("model_name", None),
        prepend_bos=meta.take("prepend_bos", None),
        centred=bool((meta.take("model_from_pretrained_kwargs", None) or {}).get("center_writing_weights")),
        where=config.where,
    )
    meta.describes("training_architecture_details")  # what inference needs of it stands beside `metadata`
    return settings


def _k(config: Ledger) -> int | None:
    """K of a top-k; that of a batch-top-k is an average, and its threshold decides."""
    value = config.take("k", None)
    return int(value) if value is not None else None


def assemble(source: Source, prefix: str, tensors: Ledger, settings: Settings, options: Options) -> Imported:
    """A dictionary from weights and settings, whichever version wrote them."""
    size, width, out = settings.size, settings.width, settings.target_width
    site, normalisation = _site(settings, options)
    target = _target(settings, options) if settings.transcodes else None
    if settings.architecture == "matching_pursuit":
        return _pursuit(source, prefix, tensors, settings, options, site, normalisation)
    decoder = tensors.tensor("W_dec", (size, out))
    bias = tensors.tensor("b_dec", (out,))
    parameters, encoder_bias = _parameters(tensors, settings)
    if settings.write_factor is not None:
        decoder = decoder * settings.write_factor.unsqueeze(1)
    dictionary = build(
        SIGMAS[settings.architecture],
        {"k": _required_k(settings, options)} if settings.architecture in ("topk", "abstopk") else {},
        encoder=tensors.tensor("W_enc", (width, size)).T,
        decoder=decoder,
        encoder_bias=encoder_bias,
        input_bias=bias if settings.subtract and not settings.transcodes else None,
        decoder_bias=bias,
        parameters=parameters,
        skip=tensors.tensor("W_skip", (out, width)) if "skip" in settings.architecture else None,
        sites=(site,),
        target=target,
        selection="decoder_norm" if settings.by_norm else "value",
        normalisation=normalisation,
        denormalise=target is None,
    )
    return _imported(source, prefix, dictionary, settings, options)


def _parameters(tensors: Ledger, settings: Settings) -> tuple[dict[str, Tensor], Tensor | None]:
    """Tensors of σ, and the encoder bias."""
    size = settings.size
    if settings.architecture == "gated":
        names = {"gate_bias": "b_gate", "magnitude_bias": "b_mag", "magnitude_log_scale": "r_mag"}
        return {ours: tensors.tensor(theirs, (size,)) for ours, theirs in names.items()}, None
    bias = tensors.tensor("b_enc", (size,))
    if SIGMAS[settings.architecture] != "jumprelu":
        return {}, bias
    if "topk_threshold" in tensors:
        threshold = tensors.number("topk_threshold")
        if threshold < 0:
            raise unsettled(
                "the threshold of this batch-top-k was never estimated",
                tensors.where,
                "finish its training, or save it for inference with SAELens",
            )
        return {"threshold": torch.full((size,), threshold)}, bias
    if "log_threshold" in tensors:
        return {"threshold": tensors.tensor("log_threshold", (size,)).exp()}, bias
    return {"threshold": tensors.tensor("threshold", (size,))}, bias


def _pursuit(
    source: Source,
    prefix: str,
    tensors: Ledger,
    settings: Settings,
    options: Options,
    site: str,
    normalisation: Normalisation,
) -> Imported:
    decoder = tensors.tensor("W_dec", (settings.size, settings.width))
    bias = tensors.tensor("b_dec", (settings.width,))
    if "W_enc" in tensors and not torch.equal(tensors.tensor("W_enc"), decoder.T):
        raise FormatError(
            "a pursuit encodes with its decoder", where=f"{tensors.where}: W_enc", expected="W_dec, turned"
        )
    dictionary = build(
        "pursuit",
        {
            "residual_threshold": max(float(settings.residual_threshold), SMALLEST),
            "max_iterations": int(settings.max_iterations or settings.width),
        },
        encoder=decoder,
        decoder=decoder,
        input_bias=bias if settings.subtract else None,
        decoder_bias=bias if settings.subtract else None,
        sites=(site,),
        normalisation=normalisation,
    )
    return _imported(source, prefix, dictionary, settings, options)


def _imported(source: Source, prefix: str, dictionary: Dictionary, settings: Settings, options: Options) -> Imported:
    scales: tuple[float, ...] = ()
    written: tuple[float, ...] = ()
    if settings.normalise == "expected_average_only_in":
        scales = options.scales(1 + settings.transcodes, f"{settings.where}: normalize_activations")
        scales, written = scales[:1], scales[1:]
    bos: Literal["keep"] | None = "keep" if settings.prepend_bos else None
    l0 = None
    if prefix + SPARSITY in source:
        l0 = float((10 ** source.tensors(prefix + SPARSITY).tensor("sparsity").double()).sum())
    return Imported(
        dictionary,
        name=prefix.rstrip("/"),
        input_scales=scales,
        target_scales=written,
        model=settings.model,
        bos=bos,
        recorded=None if l0 is None else Recorded(l0=l0),
    )


def _site(settings: Settings, options: Options) -> tuple[str, Normalisation]:
    """Where it reads, and n."""
    where = f"{settings.where}: normalize_activations"
    if settings.normalise not in _NORMALISATIONS:
        raise unsettled(
            f"normalize_activations = {settings.normalise!r} cannot be undone without its statistics",
            where,
            "fold it into the weights with SAELens and save again",
        )
    own = _NORMALISATIONS[settings.normalise]
    if options.site is not None or not settings.hook:
        site, inside = options.placed(None, settings.where), "none"
    else:
        rms = not any(name in (settings.model or "").lower() for name in _LAYER_NORM_MODELS)
        site, inside = place_of(settings.hook, head=settings.head, rms=rms)
    if settings.centred and Site.parse(site).kind in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"):
        inside = "centre" if inside == "none" else inside
    if own == "layer_norm" and inside == "centre":
        inside = "none"
    if own != "none" and inside != "none":
        raise FormatError("two normalisations, one after the other", where=where, got=f"{inside}, then {own}")
    return site, own if inside == "none" else inside


def _target(settings: Settings, options: Options) -> str:
    if options.target is not None or not settings.hook_out:
        return options.placed(None, settings.where, of="target")
    return place_of(settings.hook_out, head=settings.head_out)[0]


def _required_k(settings: Settings, options: Options) -> int:
    k = settings.k if settings.k is not None else options.k
    if k is None:
        raise unsettled("the file does not say how many features fire", settings.where, "give --k")
    return k


def write(dictionary: Dictionary, folder: Path) -> None:
    """The folder as version 6 saves it for inference."""
    architecture = _architecture(dictionary)
    dictionary, subtract = _input_bias(dictionary)
    hook, head = hook_of(dictionary.site)
    tensors: dict[str, Tensor] = {
        "W_enc": dictionary.encoder.T,
        "W_dec": dictionary.decoder,
        "b_dec": dictionary.decoder_bias,
    }
    if architecture == "gated":
        names = {"b_gate": "gate_bias", "b_mag": "magnitude_bias", "r_mag": "magnitude_log_scale"}
        tensors |= {theirs: dictionary.parameters[ours] for theirs, ours in names.items()}
    else:
        tensors |= {"b_enc": dictionary.encoder_bias, **dictionary.parameters}
    if dictionary.skip is not None:
        tensors["W_skip"] = dictionary.skip
    metadata: dict[str, object] = {
        "sae_lens_version": VERSION,
        "hook_name": hook,
        "hook_head_index": head,
        "model_name": dictionary.metadata.model.reference if dictionary.metadata.model else None,
        "prepend_bos": dictionary.metadata.bos == "keep",
    }
    config: dict[str, object] = {
        "architecture": architecture,
        "d_in": dictionary.width,
        "d_sae": dictionary.size,
        "dtype": str(dictionary.encoder.dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": subtract,
        "normalize_activations": {"none": "none", "layer_norm": "layer_norm", "unit_rms": "constant_norm_rescale"}[
            dictionary.normalisation
        ],
        "reshape_activations": "hook_z" if hook.endswith("hook_z") and head is None else "none",
        "metadata": metadata,
    }
    if dictionary.target is not None:
        config["d_out"] = dictionary.target_width
        metadata["hook_name_out"], metadata["hook_head_index_out"] = hook_of(dictionary.target)
    if architecture in ("topk", "abstopk"):
        config |= {"k": dictionary.activation.constants["k"], "rescale_acts_by_decoder_norm": False}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _architecture(dictionary: Dictionary) -> str:
    """The architecture that is this dictionary, or the refusal that says why there is none."""
    sigma, kind = dictionary.activation.name, dictionary.kind
    if kind == "crosscoder":
        raise cannot_express(NAME, "a crosscoder")
    if sigma in ("groupmax", "pursuit"):
        raise cannot_express(NAME, f"{sigma} with an encoder of its own" if sigma == "pursuit" else sigma)
    if Address.parse(dictionary.site).role != "reference":
        raise cannot_express(NAME, f"the role in {dictionary.site}")
    if dictionary.selection != "value":
        raise cannot_express(NAME, "selection by decoder norm", instead="fold the norms first")
    if dictionary.normalisation == "centre":
        raise cannot_express(NAME, "the normalisation centre")
    if dictionary.normalisation != "none" and dictionary.denormalise == (kind == "transcoder"):
        undone = "undone" if dictionary.denormalise else "not undone"
        raise cannot_express(NAME, f"a {kind} whose normalisation is {undone}")
    if kind == "sae":
        return {"relu": "standard"}.get(sigma, sigma)
    if sigma not in ("relu", "jumprelu"):
        raise cannot_express(NAME, f"a transcoder with {sigma}")
    return (
        ("jumprelu_" if sigma == "jumprelu" else "") + ("skip_" if dictionary.skip is not None else "") + "transcoder"
    )


def _input_bias(dictionary: Dictionary) -> tuple[Dictionary, bool]:
    """The dictionary with an input bias that the format has a place for, and whether `b_dec` is subtracted."""
    if not bool((dictionary.input_bias != 0).any()):
        return dictionary, False
    if dictionary.kind == "sae" and torch.equal(dictionary.input_bias, dictionary.decoder_bias):
        return dictionary, True
    return without_input_bias(dictionary), False
