"""Hashes of tensors by content: name, type, shape and little-endian values; file layout and device do not enter."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from radiograph.evidence import canonical_json


def tensor_sha256(tensor: Tensor) -> str:
    """Hash of type, shape and values."""
    digest = hashlib.sha256()
    digest.update(f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}\x00".encode())
    digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def functional_sha256(tensors: Mapping[str, Tensor], functional: Mapping[str, object]) -> str:
    """Hash of named tensors and of the JSON that says how they are used."""
    lines = {name: tensor_sha256(tensor) for name, tensor in tensors.items()}
    return hashlib.sha256(canonical_json({"tensors": lines, "functional": dict(functional)})).hexdigest()
