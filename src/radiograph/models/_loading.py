"""Loading models: from a reference to a network in eval mode.

1. locate base and adapter (see `_refs`)   2. refuse what needs its own code, unless told otherwise
3. weights from safetensors, or pickles read with `weights_only=True`; every tensor of the architecture must be there
4. refuse weights that are not finite   5. attach the adapter, if any (see `_adapters`)
Weights run in float32 unless `dtype` says otherwise. Nothing is downloaded unless `offline=False`.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from radiograph.core import FormatError, UserError, nearest
from radiograph.models._adapters import Attached, attach
from radiograph.models._identity import weight_files
from radiograph.models._model import AdapterSwitch, LanguageModel, Pair, check_weights
from radiograph.models._refs import ModelRef, Resolve, check_adapter, locate


def load(
    ref: str | ModelRef,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    offline: bool = True,
    trust_remote_code: bool = False,
    base_dir: Path | None = None,
    resolve: Resolve | None = None,
) -> LanguageModel:
    """Load one model; `BASE+ADAPTER` gives the base with the adapter on.

    Args:
        ref: a model reference.
        device: where the weights go.
        dtype: what they run in; None is float32.
        offline: never touch the network; hub ids then come from the local cache.
        trust_remote_code: run Python code that the repository brings.
        base_dir: where relative folders are looked for; None is the current folder.
        resolve: gives the folder of `bundled:NAME`.

    Raises:
        UserError: not found, needs its own code, tensors missing or of other shapes, not finite.
        FormatError: weights or config that are not what they say, pickles that would run code.
    """
    parsed = ModelRef.parse(ref, base_dir=base_dir)
    find: dict[str, Any] = {"base_dir": base_dir, "offline": offline, "resolve": resolve}
    folder = locate(parsed.base, code=trust_remote_code, **find)
    adapter = None if parsed.adapter is None else locate(parsed.adapter, **find)
    network, notes = _load_base(folder, dtype or torch.float32, trust_remote_code)
    network = network.to(device)  # type: ignore[arg-type]
    base = LanguageModel(network, _tokenizer(folder, trust_remote_code), ModelRef(parsed.base), folder, notes=notes)
    if adapter is None:
        return base
    return _view(base, parsed, adapter, attach(base, adapter))


def load_pair(
    reference: str | ModelRef,
    candidate: str | ModelRef,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    offline: bool = True,
    trust_remote_code: bool = False,
    base_dir: Path | None = None,
    resolve: Resolve | None = None,
) -> Pair:
    """Load a reference and a candidate, the weights once where the candidate is `REFERENCE+ADAPTER`.

    Both are then views of one network. With the adapter off the logits equal the plain base bit for bit: that is tried
    here, and a kind of adapter that changes the base itself (trained biases, PiSSA) gets a network of its own.

    Raises: as `load`.
    """
    pair = load_family(
        reference,
        (candidate,),
        device=device,
        dtype=dtype,
        offline=offline,
        trust_remote_code=trust_remote_code,
        base_dir=base_dir,
        resolve=resolve,
    )
    return Pair(*pair)


def load_family(
    reference: str | ModelRef,
    candidates: Sequence[str | ModelRef],
    *,
    base_dir: Path | None = None,
    offline: bool = True,
    resolve: Resolve | None = None,
    **options: Any,
) -> list[LanguageModel]:
    """A reference and its candidates, the weights once for all that are `REFERENCE+ADAPTER`.

    They are then views of one network. With every adapter off the logits equal the plain base bit for bit: that is
    tried for each, and a kind that changes the base itself (trained biases, PiSSA) gets a network of its own.

    Raises: as `load`.
    """
    find: dict[str, Any] = {"base_dir": base_dir, "offline": offline, "resolve": resolve}
    first, *others = (ModelRef.parse(r, base_dir=base_dir) for r in (reference, *candidates))
    alone: set[ModelRef] = set()
    while True:
        base = load(first, **find, **options)
        views: dict[ModelRef, LanguageModel] = {first: base}
        switch: AdapterSwitch | None = None
        for number, ref in enumerate(dict.fromkeys(others)):
            shared = ref.adapter is not None and first.adapter is None and ref.base == first.base
            if ref == first or not shared or ref in alone:
                continue
            assert ref.adapter is not None, "shared"
            folder = locate(ref.adapter, **find)
            attached = attach(base, folder, switch, f"candidate{number}")
            if not attached.restores_base:
                alone.add(ref)
                break
            switch = attached.switch
            views[ref] = _view(base, ref, folder, attached)
        else:
            break
    if switch is not None:
        views[first] = replace(base, switch=switch)
    return [views[first], *(views[ref] if ref in views else load(ref, **find, **options) for ref in others)]


def read_pickle(path: Path) -> Mapping[str, torch.Tensor]:
    """Tensors of a pickle that holds nothing else.

    Raises:
        FormatError: it would run code, or is no pickle.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise _bad_weights(path.parent, error) from error
    return {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}


def _view(base: LanguageModel, ref: ModelRef, adapter: Path, attached: Attached) -> LanguageModel:
    return LanguageModel(
        base.model,
        base.tokenizer,
        ref,
        base.folder,
        adapter,
        switch=attached.switch,
        adapter_name=attached.name,
        notes=base.notes + attached.notes,
        lock=base.lock,
    )


def _load_base(folder: Path, dtype: torch.dtype, trust: bool) -> tuple[PreTrainedModel, tuple[str, ...]]:
    config = _config(folder, trust)
    weight_files(folder)
    try:
        with _quietly():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                trust_remote_code=trust,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except ValueError as error:
        raise _not_causal(folder, config, error) from error
    except (pickle.UnpicklingError, RuntimeError, OSError, KeyError, EOFError) as error:
        raise _bad_weights(folder, error) from error
    except Exception as error:  # safetensors raises a class of its own that derives from Exception
        if type(error).__name__ != "SafetensorError":
            raise
        raise _bad_weights(folder, error) from error
    network, report = loaded
    _check_report(folder, report)
    check_weights(network, folder)
    unused = sorted(report["unexpected_keys"])
    notes = (f"weights_unused: {len(unused)} tensors, first {unused[0]}",) if unused else ()
    return network.eval(), notes


@contextmanager
def _quietly() -> Iterator[None]:
    """No bar and no report of gaps: `_check_report` turns every gap into an error."""
    level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on odd pickles before it refuses them
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()


def _config(folder: Path, trust: bool) -> Any:
    path = folder / "config.json"
    if not path.is_file():
        check_adapter(folder)
        names = sorted(p.name for p in folder.iterdir())
        close = nearest("config.json", names)
        raise UserError(
            f"{folder} is not a model folder",
            expected="a file config.json",
            got=", ".join(names[:8]) or "an empty folder",
            fix=f"did you mean {close[0]}?" if close else None,
            code="model_not_found",
        )
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise FormatError(f"{path} is not JSON", where=str(path), got=str(error)) from error
    kind = stored.get("model_type")
    if kind not in CONFIG_MAPPING and not trust:
        if stored.get("auto_map"):
            raise UserError(
                f"model {folder.name!r} brings its own Python code, which would run on this machine",
                where=str(path),
                fix="read that code; if you trust it, pass --trust-remote-code",
                code="remote_code",
            )
        close = nearest(str(kind), list(CONFIG_MAPPING))
        raise UserError(
            f"unknown model_type {kind!r}",
            where=str(path),
            expected="an architecture of the installed transformers",
            fix=f"nearest: {', '.join(close)}" if close else None,
        )
    return AutoConfig.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)


def _tokenizer(folder: Path, trust: bool) -> PreTrainedTokenizerBase | None:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise FormatError(
            f"the tokenizer in {folder} cannot be read", where=str(folder), got=str(error)[:200]
        ) from error


def _check_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Transformers fills gaps with random numbers; a measured model must have none."""
    for entry in sorted(report.get("mismatched_keys", [])):
        name, given, expected = entry
        raise UserError(
            f"tensor {name} has another shape than config.json says",
            where=str(folder),
            expected=str(list(expected)),
            got=str(list(given)),
            code="shape_mismatch",
        )
    missing = sorted(report.get("missing_keys", []))
    if missing:
        raise UserError(
            f"{len(missing)} tensors of the architecture are missing from the weights",
            where=str(folder),
            expected=missing[0],
            fix="the download or export is incomplete",
            code="weights_missing",
        )


def _not_causal(folder: Path, config: Any, error: ValueError) -> UserError:
    return UserError(
        f"{folder.name!r} is not a causal language model",
        expected="an architecture with a causal language-model head",
        got=f"{config.model_type}: {str(error).splitlines()[0][:200]}",
        code="not_causal",
    )


def _bad_weights(folder: Path, error: Exception) -> FormatError:
    pickled = isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error)
    return FormatError(
        f"weights in {folder} would run code when opened" if pickled else f"weights in {folder} cannot be read",
        where=str(folder),
        got=(str(error).strip().splitlines() or [type(error).__name__])[0][:300],
        fix="convert them to safetensors in a place you trust" if pickled else None,
    )
