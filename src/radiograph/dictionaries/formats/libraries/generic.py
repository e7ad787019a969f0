"""Any file of tensors, described by its user in a YAML file (`--map`): for what no other format knows.

    site: resid_post.6                  # or `sites: [reference/resid_post.6, candidate/resid_post.6]`, and `target:`
    activation: jumprelu
    constants: {}                       # such as {k: 32}
    tensors:
      encoder: {name: W_enc, axes: df}  # stored axes: f feature, d width, s source; `transpose: true` is `df`
      decoder: W_dec                    # a name alone is stored feature-major
      encoder_bias: b_enc
      input_bias: b_dec                 # one tensor may serve twice
      decoder_bias: b_dec
      threshold: {name: log_theta, exp: true}
    ignore: [step, optimizer.*]         # tensors that decide nothing

Also: `file`, `under` (a mapping inside a pickle), `selection`, `normalisation`, `denormalise`, `input_scale`,
`target_scale`, `widths`, `model`, `explained_variance`, `l0`. Every key must be known and every tensor accounted for,
and the checks are those of any other format. Never detected: it is asked for with `--format generic --map FILE.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor

from radiograph.core import FormatError, UserError
from radiograph.dictionaries.activations import activation
from radiograph.dictionaries.formats import Imported, Ledger, Options, Recorded, Source, build, unsettled
from radiograph.store import load_yaml

NAME: Final = "generic"
FEATURE_FIRST: Final = "fd"
MATRICES: Final = ("encoder", "decoder")
BIASES: Final = ("encoder_bias", "input_bias", "decoder_bias")


def detect(source: Source) -> bool:
    """Never by itself."""
    del source
    return False


def read(source: Source, options: Options) -> Iterator[Imported]:
    """The one dictionary that the map describes."""
    if options.map is None:
        raise unsettled("nothing says which tensor is what", NAME, "give --map FILE.yaml", code="map_missing")
    described = Ledger(_mapping(options), options.map.name)
    source.ledgers.append(described)
    file = _open(source, described)
    under = described.take("under", None)
    tensors = file if under is None else file.part(str(under))
    sites = _sites(described, options)
    constants = described.take("constants", None) or {}
    sigma = activation(str(described.take("activation")), constants)
    named = described.part("tensors")
    target = options.target or described.take("target", None)
    found = {name: _tensor(named, name, tensors) for name in (*MATRICES, *BIASES, *sigma.PARAMETERS, "skip")}
    for name in (*MATRICES, *sigma.PARAMETERS):
        if found[name] is None:
            raise FormatError(f"the map names no {name}", where=f"{described.where}: tensors")
    for ledger in (file, tensors):
        ledger.ignore(*(described.take("ignore", None) or ()))
    dictionary = build(
        sigma.name,
        constants,
        **{name: found[name] for name in (*MATRICES, *BIASES, "skip")},  # type: ignore[arg-type]
        parameters={name: value for name in sigma.PARAMETERS if (value := found[name]) is not None},
        sites=sites,
        target=None if target is None else options.placed(str(target), described.where, of="target"),
        widths=tuple(described.take("widths", ())),
        selection=described.take("selection", "value"),
        normalisation=described.take("normalisation", "none"),
        denormalise=bool(described.take("denormalise", True)),
    )
    recorded = Recorded(described.take("explained_variance", None), described.take("l0", None))
    yield Imported(
        dictionary,
        input_scales=options.input_scale or _scales(described, "input_scale"),
        target_scales=_scales(described, "target_scale"),
        model=described.take("model", None),
        recorded=recorded,
        notes=(f"read as {described.where} says",),
    )


def _mapping(options: Options) -> dict[str, Any]:
    assert options.map is not None
    value, faults = load_yaml(options.map)
    twice = [text for _, text in faults.found]
    if twice:
        raise FormatError("the map says something twice", where=options.map.name, got="; ".join(twice))
    if not isinstance(value, Mapping):
        raise FormatError("the map is no mapping", where=options.map.name, got=type(value).__name__)
    return {str(key): item for key, item in value.items()}


def _open(source: Source, described: Ledger) -> Ledger:
    files = source.tensor_files
    name = described.take("file", None) or (files[0] if len(files) == 1 else None)
    if name is None:
        raise UserError(
            "which file of tensors?", where=f"{described.where}: file", got=", ".join(files[:12]) or "none there"
        )
    return source.tensors(str(name))


def _sites(described: Ledger, options: Options) -> tuple[str, ...]:
    one, several = described.take("site", None), described.take("sites", None)
    if options.site is None and several is not None:
        return tuple(options.placed(str(site), described.where) for site in several)
    return (options.placed(one, described.where),)


def _tensor(named: Ledger, name: str, tensors: Ledger) -> Tensor | None:
    """One field of a dictionary from the tensor that the map names, in our order of axes."""
    entry = named.take(name, None)
    if entry is None:
        return None
    where = f"{named.where}.{name}"
    given = Ledger(entry if isinstance(entry, Mapping) else {"name": entry}, where)
    tensor = tensors.tensor(str(given.take("name")))
    if given.take("exp", False):
        tensor = tensor.exp()
    default = "df" if given.take("transpose", False) else FEATURE_FIRST
    axes = str(given.take("axes", default))
    given.close()
    if name == "skip":
        return tensor.T if axes == "df" else tensor
    if name in MATRICES:
        return _feature_major(tensor, axes, where)
    return tensor.flatten()


def _feature_major(tensor: Tensor, axes: str, where: str) -> Tensor:
    """[feature, width] or, over several sources, [feature, source × width]."""
    if sorted(axes) not in (["d", "f"], ["d", "f", "s"]) or tensor.ndim != len(axes):
        raise FormatError(
            "axes of a stored matrix",
            where=where,
            expected="each of f (feature), d (width) and, over several sources, s (source) once",
            got=f"{axes!r} for {list(tensor.shape)}",
        )
    return tensor.permute([axes.index(letter) for letter in "fsd" if letter in axes]).flatten(1)


def _scales(described: Ledger, name: str) -> tuple[float, ...]:
    value = described.take(name, ())
    return tuple(float(v) for v in (value if isinstance(value, list | tuple) else (value,)))
