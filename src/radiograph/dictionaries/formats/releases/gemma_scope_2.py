"""Gemma Scope 2: `config.json` and `params.safetensors` under `KIND[_all]/layer_N_width_W_l0_X[_affine]`.

    w_enc [d, F]   w_dec [F, d_out]   b_enc [F]   b_dec [d_out]   threshold [F]   affine_skip_connection [d_in, d_out]

1. `architecture` is jump_relu, no c; the affine skip is turned to S   2. `hf_hook_point_in` and `_out` name the places.
`attn_out` files read `self_attn.o_proj.input`, which is attn_z: the path wins over the folder's name
3. `clt` and `crosscoder` folders write several layers, and are refused
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from radiograph.core import FormatError
from radiograph.dictionaries.formats import Imported, Options, Recorded, Source, build, unsettled

NAME: Final = "gemma_scope_2"
CONFIG, WEIGHTS = "config.json", "params.safetensors"
_LAYER = re.compile(r"layer_(\d+)")
_L0 = re.compile(r"_l0_(\d+)$")
_PATH = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.")


def detect(source: Source) -> bool:
    """Both files, side by side."""
    return bool(_folders(source))


def _folders(source: Source) -> list[str]:
    found = [name.removesuffix(WEIGHTS) for name in source.names if name.split("/")[-1] == WEIGHTS]
    return [prefix for prefix in found if prefix + CONFIG in source]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a folder; of several, only those of `--layer` where it is given."""
    for prefix in _folders(source) or [""]:
        layers = _LAYER.findall(f"{source.path_text}/{prefix}")
        if options.layer is None or (layers and int(layers[-1]) == options.layer):
            yield _one(source, prefix, options)


def _one(source: Source, prefix: str, options: Options) -> Imported:
    config, tensors = source.document(prefix + CONFIG), source.tensors(prefix + WEIGHTS)
    config.describes()
    place = f"{source.path_text}/{prefix}".rstrip("/")
    if re.match(r"clt|crosscoder", place.split("/")[-2] if "/" in place else ""):
        raise unsettled("it writes several layers", prefix or config.where, "import a dictionary of one layer")
    architecture = str(config.take("architecture", "jump_relu"))
    if architecture != "jump_relu":
        raise FormatError(f"architecture {architecture!r}", where=config.where, expected="jump_relu")
    read_at, written = (str(config.take(f"hf_hook_point_{side}", "") or "") for side in ("in", "out"))
    site = options.placed(_plain(read_at), config.where)
    target = options.placed(_plain(written), config.where, of="target") if written not in ("", read_at) else None
    encoder = tensors.tensor("w_enc", (None, None))
    width, size = encoder.shape
    skip = "affine_skip_connection"
    config.expect("affine_connection", skip in tensors)
    dictionary = build(
        "jumprelu",
        encoder=encoder.T,
        decoder=tensors.tensor("w_dec", (size, None)),
        encoder_bias=tensors.tensor("b_enc", (size,)),
        decoder_bias=tensors.tensor("b_dec"),
        parameters={"threshold": tensors.tensor("threshold", (size,))},
        skip=tensors.tensor(skip, (width, None)).T if skip in tensors else None,
        sites=(site,),
        target=None if target == site else target,
    )
    l0 = _L0.search(place.removesuffix("_affine"))
    model = config.take("model_name", None)
    name = prefix.rstrip("/") if len(_folders(source)) > 1 else ""
    return Imported(dictionary, name=name, model=model, recorded=Recorded(l0=float(l0[1])) if l0 else None)


def _plain(path: str) -> str:
    """The module path as every Hugging Face model has it."""
    return _PATH.sub("model.layers.", path, count=1)
