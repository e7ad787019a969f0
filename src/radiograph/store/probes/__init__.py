"""Probe files, vectors of others, and packs of probes. Torch is never needed."""

from radiograph.store.probes._fetch import address_of, fetch_file
from radiograph.store.probes._files import (
    CARD_BYTES,
    TENSORS,
    ForeignProbe,
    StoredProbe,
    card_bytes,
    find_card,
    placeholder,
    probe_bytes,
    read_foreign,
    read_probe,
    weights_path,
    weights_sha256,
    write_probe,
)
from radiograph.store.probes._known import KnownPack, find_pack, known_packs, named_pack
from radiograph.store.probes._packs import MANIFEST, check_pack, pack_bytes, plain, read_pack, write_pack

__all__ = [
    "CARD_BYTES",
    "MANIFEST",
    "TENSORS",
    "ForeignProbe",
    "KnownPack",
    "StoredProbe",
    "address_of",
    "card_bytes",
    "check_pack",
    "fetch_file",
    "find_card",
    "find_pack",
    "known_packs",
    "named_pack",
    "pack_bytes",
    "placeholder",
    "plain",
    "probe_bytes",
    "read_foreign",
    "read_pack",
    "read_probe",
    "weights_path",
    "weights_sha256",
    "write_pack",
    "write_probe",
]
