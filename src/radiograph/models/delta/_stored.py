"""A model on disk that is located and never built: its config, its vocabulary, its hashes. No torch for safetensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from radiograph.core import FormatError, UserError
from radiograph.models._identity import Identity, identify
from radiograph.models._refs import ModelRef, Resolve, adapter_config, adapter_notes, check_adapter, locate


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Which token a row of the embedding belongs to."""

    entries: Mapping[str, int]
    show: Callable[[int], str]
    """A token's text; its name in the vocabulary where the text is not whole (bytes, specials)."""

    @property
    def size(self) -> int:
        """Rows that a token can reach."""
        return len(self.entries)

    def agrees(self, other: Vocabulary) -> bool:
        """Whether every id that both know means the same token."""
        shared = min(self.size, other.size)
        ours, theirs = ({i: t for t, i in v.entries.items() if i < shared} for v in (self, other))
        return ours == theirs

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """From a transformers tokenizer."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            return cls._fast(backend)
        return cls(tokenizer.get_vocab(), lambda index: str(tokenizer.convert_ids_to_tokens(index)))

    @classmethod
    def _fast(cls, backend: Any) -> Vocabulary:
        def show(index: int) -> str:
            text = backend.decode([index], skip_special_tokens=False)
            return text if text and "\N{REPLACEMENT CHARACTER}" not in text else str(backend.id_to_token(index))

        return cls(backend.get_vocab(with_added_tokens=True), show)


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model reference and the folders it stands for."""

    ref: ModelRef
    folder: Path
    adapter_folder: Path | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The text model's part of config.json.

        Raises:
            UserError: no such file. FormatError: it is not JSON.
        """
        path = self.folder / "config.json"
        if not path.is_file():
            raise UserError(
                f"{self.folder} is not a model folder", expected="a file config.json", code="model_not_found"
            )
        try:
            config = json.loads(path.read_text())
        except ValueError as error:
            raise FormatError(f"{path} is not JSON", where=str(path), got=str(error)) from error
        return config.get("text_config", config)

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The tokenizer's; None without one."""
        if (self.folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            try:
                return Vocabulary._fast(Tokenizer.from_file(str(self.folder / "tokenizer.json")))
            except Exception as error:  # tokenizers raises bare Exception
                raise FormatError(f"the tokenizer in {self.folder} cannot be read", got=str(error)[:200]) from error
        if any((self.folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.model")):
            from transformers import AutoTokenizer

            return Vocabulary.of(AutoTokenizer.from_pretrained(self.folder, local_files_only=True))
        return None

    @cached_property
    def identity(self) -> Identity:
        """Hashes of files and tensors, as those of a loaded model."""
        return identify(self.folder, self.adapter_folder, dict, None)


@dataclass(frozen=True, eq=False)
class StoredPair:
    """Two models on disk."""

    reference: StoredModel
    candidate: StoredModel


def stored(
    ref: str | ModelRef, *, base_dir: Path | None = None, offline: bool = True, resolve: Resolve | None = None
) -> StoredModel:
    """Find a model without loading it; arguments as those of `load`.

    Raises:
        UserError: nothing of that name, an adapter where a model belongs, or the reverse.
    """
    parsed = ModelRef.parse(ref, base_dir=base_dir)
    folder = locate(parsed.base, base_dir=base_dir, offline=offline, resolve=resolve)
    check_adapter(folder)
    if parsed.adapter is None:
        return StoredModel(parsed, folder)
    adapter = locate(parsed.adapter, base_dir=base_dir, offline=offline, resolve=resolve)
    return StoredModel(parsed, folder, adapter, adapter_notes(parsed, adapter_config(adapter)))
