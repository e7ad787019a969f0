"""What a model is, as hashes that survive moving, renaming, re-sharding and re-saving.

- `files_sha256`: the folder's files, sorted by relative path, as they are
- `tensors_sha256`: (canonical name, dtype, shape, bytes) of every tensor, sorted by name, tied weights once. Canonical
  names drop the backbone's prefix and the mask and frequency buffers that old checkpoints carry
- `tokenizer_sha256`: vocabulary, merges, special tokens, splitting rules, chat template
- with an adapter: the hash of (base hash, adapter hash); an adapter's tensors include its functional config, because
  the same matrices under another `lora_alpha` are another model
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import FormatError
from radiograph.models._tokenizers import tokenizer_sha256
from radiograph.models.architectures import UNEMBEDDINGS

if TYPE_CHECKING:
    import torch

_PREFIX = re.compile(r"^(?:base_model\.model\.)?(?:model|transformer|gpt_neox)\.")
_BUFFER = re.compile(r"(?:^|\.)(?:attn|attention)\.(?:bias|masked_bias)$|rotary_emb\.inv_freq$")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight")
_NOT_FUNCTIONAL = {"base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "task_type", "peft_version"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Hashes of one model. `files_sha256` is None in memory, `tokenizer_sha256` without a tokenizer."""

    tensors_sha256: str
    files_sha256: str | None = None
    tokenizer_sha256: str | None = None
    base_tensors_sha256: str | None = None
    adapter_tensors_sha256: str | None = None


def identify(
    folder: Path | None,
    adapter: Path | None,
    parameters: Callable[[], Mapping[str, torch.Tensor]],
    tokenizer: Any | None,
) -> Identity:
    """Identity of a loaded model: from its folder where it has one, else from its parameters."""
    tokens = None if tokenizer is None else tokenizer_sha256(tokenizer)
    base = tensors_sha256(parameters()) if folder is None else tensors_sha256(folder)
    files = None if folder is None else files_sha256(folder)
    if adapter is None:
        return Identity(base, files, tokens)
    change = tensors_sha256(adapter)
    together = None if files is None else _compose(files, files_sha256(adapter))
    return Identity(_compose(base, change), together, tokens, base, change)


def files_sha256(folder: Path) -> str:
    """Hash of the files of a folder: relative path, size and bytes, sorted by path."""
    total = hashlib.sha256(b"radiograph.files/1")
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and ".git" not in p.relative_to(folder).parts):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(json.dumps([path.relative_to(folder).as_posix(), path.stat().st_size, digest]).encode())
    return total.hexdigest()


def tensors_sha256(source: Path | Mapping[str, torch.Tensor]) -> str:
    """Hash of the tensors of a model or adapter folder (no torch for safetensors), or of parameters in memory.

    Raises:
        FormatError: no weights, or a file that is not what its name says.
    """
    extra: list[Any] = []
    if isinstance(source, Path):
        stream = _stored(source)
        config = source / "adapter_config.json"
        if config.is_file():
            kept = {
                k: v for k, v in json.loads(config.read_text()).items() if k not in _NOT_FUNCTIONAL and v is not None
            }
            extra = [{k: sorted(v) if isinstance(v, list) else v for k, v in kept.items()}]
    else:
        stream = _in_memory(source)
    entries: dict[str, list[Any]] = {}
    for name, dtype, shape, data in stream:
        canonical = canonical_name(name)
        if canonical is not None:
            entries[canonical] = [dtype, shape, hashlib.sha256(data).hexdigest()]
    embedding = next((entries[name] for name in EMBEDDINGS if name in entries), None)
    for head in UNEMBEDDINGS:
        if head in entries:
            entries["unembed"] = entries.pop(head)
            if entries["unembed"] == embedding:
                del entries["unembed"]
    lines = [[name, *entries[name]] for name in sorted(entries)] + extra
    return hashlib.sha256(b"radiograph.tensors/1" + json.dumps(lines, sort_keys=True).encode()).hexdigest()


def canonical_name(stored: str) -> str | None:
    """A tensor's name without the backbone's prefix; None for the buffers of old checkpoints, which are no weights."""
    return None if _BUFFER.search(stored) else _PREFIX.sub("", stored)


def weight_files(folder: Path) -> list[Path]:
    """The weight files that loading reads: safetensors, else pickles.

    Raises:
        FormatError: the folder holds neither.
    """
    for pattern in ("model*.safetensors", "adapter_model.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin"):
        files = sorted(folder.glob(pattern))
        if files:
            return files
    raise FormatError(f"no weights in {folder}", expected="*.safetensors, or pytorch_model.bin", code="format")


def safetensors_header(path: Path) -> list[tuple[str, str, list[int], int, int]]:
    """(name, dtype, shape, first byte, byte after the last) of every tensor, bytes counted from the file's start.

    Raises:
        FormatError: not a safetensors file, or one that ends too early.
    """
    with path.open("rb") as file:
        try:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
            header.pop("__metadata__", None)
            data = 8 + length
            items = [
                (name, e["dtype"], list(e["shape"]), *(data + offset for offset in e["data_offsets"]))
                for name, e in header.items()
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{path} is not a safetensors file", where=str(path)) from error
    size, needed = path.stat().st_size, max((item[-1] for item in items), default=data)
    if size < needed:
        raise FormatError(f"{path} ends before its last tensor", expected=f"{needed} bytes", got=f"{size} bytes")
    return items


def _compose(base: str, adapter: str) -> str:
    return hashlib.sha256(f"radiograph.composed/1 {base} {adapter}".encode()).hexdigest()


def _stored(folder: Path) -> Iterator[tuple[str, str, list[int], bytes]]:
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            yield from _safetensors(path)
        else:
            from radiograph.models._loading import read_pickle

            yield from _in_memory(read_pickle(path))


def _safetensors(path: Path) -> Iterator[tuple[str, str, list[int], bytes]]:
    """Read the file itself: NumPy has no bfloat16, and the bytes are all that is wanted."""
    items = safetensors_header(path)
    with path.open("rb") as file:
        for name, dtype, shape, start, stop in items:
            file.seek(start)
            yield name, dtype, shape, file.read(stop - start)


def _in_memory(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, list[int], bytes]]:
    import torch

    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
    for name, tensor in tensors.items():
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        yield name, names.get(tensor.dtype, str(tensor.dtype)), list(tensor.shape), data
