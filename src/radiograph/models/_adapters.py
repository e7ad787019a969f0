"""PEFT adapters on a shared base: attach, check, and switch.

1. read adapter_config.json   2. inject the adapter's layers into the base network   3. load its tensors, of which every
one must be there and fit   4. run a few tokens with the adapter off: equal to the plain base, bit for bit?
LoRA, rsLoRA, DoRA, IA3 and `modules_to_save` are accepted, and whatever else works by layers inside the network; prompt
adapters are refused, because they change the input and not the model.
"""

from __future__ import annotations

import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from radiograph.core import FormatError, UserError
from radiograph.models._model import AdapterSwitch, LanguageModel, check_weights
from radiograph.models._refs import adapter_config, adapter_notes

_MISMATCH = re.compile(r"size mismatch for (\S+): .*?torch\.Size\((\[.*?\])\).*?torch\.Size\((\[.*?\])\)", re.S)


@dataclass(frozen=True, slots=True)
class Attached:
    """An adapter inside a network; `restores_base`: switched off, it leaves the plain base."""

    switch: AdapterSwitch
    name: str
    restores_base: bool
    notes: tuple[str, ...]


def attach(base: LanguageModel, folder: Path, switch: AdapterSwitch | None = None, name: str = "default") -> Attached:
    """Put the adapter in `folder` into the base's network, switched on. Further ones bring the switch and a new name.

    Raises:
        UserError: no adapter there; tensors of other shapes, missing, or not finite; a prompt adapter.
        FormatError: files that are not what they say.
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    config = adapter_config(folder)
    switch = switch or AdapterSwitch()
    switch.set(None)
    plain = _probe(base)
    known = {key: p.requires_grad for key, p in base.parameters().items()}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            PeftModel.from_pretrained(base.model, str(folder), adapter_name=name, is_trainable=False)
    except RuntimeError as error:
        raise _misfit(folder, error) from error
    except pickle.UnpicklingError as error:
        raise FormatError(f"adapter {folder} would run code when opened", where=str(folder)) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"adapter {folder.name!r} does not fit {base.ref}",
            where=str(folder),
            got=str(error).splitlines()[0][:300],
            code="adapter_mismatch",
        ) from error
    _check_complete(folder, [str(w.message) for w in caught])
    check_weights(base.model, folder)
    base.model.eval()
    for key, parameter in base.parameters().items():
        parameter.requires_grad_(known.get(key, False))
    layers = [m for m in base.model.modules() if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    switch.know(layers, name)
    switch.set(None)
    restored = torch.equal(_probe(base), plain)
    switch.set(name)
    return Attached(switch, name, restored, adapter_notes(base.ref, config))


def _probe(base: LanguageModel) -> torch.Tensor:
    """Logits of a few fixed tokens, the evidence that switching off restores the base."""
    count = min(8, base.context_length)
    ids = torch.arange(count, device=base.device)[None] * 37 % base.vocab_size
    with torch.inference_mode():
        return base.model(input_ids=ids, use_cache=False).logits


def _misfit(folder: Path, error: RuntimeError) -> UserError:
    match = _MISMATCH.search(str(error))
    if match is None:
        return UserError(f"adapter {folder.name!r} cannot be loaded", where=str(folder), got=str(error)[:300])
    return UserError(
        f"adapter {folder.name!r} was trained for other shapes: tensor {match[1]}",
        where=str(folder),
        expected=match[3],
        got=match[2],
        code="adapter_mismatch",
    )


def _check_complete(folder: Path, messages: list[str]) -> None:
    for message in messages:
        if "missing adapter keys" in message:
            raise UserError(
                f"adapter {folder.name!r} lacks tensors for this base",
                where=str(folder),
                got=message[:300],
                code="adapter_mismatch",
            )
