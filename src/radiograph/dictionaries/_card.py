"""`card.md`: what a person should know before using a dictionary."""

from __future__ import annotations

from radiograph.core import visible
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Provenance, Quality


def card(dictionary: Dictionary) -> str:
    """Markdown, without times, paths or anything that is not in the JSON."""
    meta = dictionary.metadata
    constants = ", ".join(f"{name} {value}" for name, value in dictionary.activation.constants.items())
    rows = [
        ("Kind", dictionary.kind),
        ("Reads", ", ".join(dictionary.sites)),
        ("Writes", ", ".join(dictionary.targets)),
        ("Model", meta.model.reference if meta.model else "unknown"),
        ("Model hash", (meta.model.tensors_sha256 if meta.model else None) or "unknown"),
        ("Features × width", f"{dictionary.size} × {dictionary.width}"),
        ("Activation", dictionary.activation.name + (f" ({constants})" if constants else "")),
        ("Code unit", dictionary.value_unit),
        ("Hash", dictionary.hash),
        ("Decoder hash", dictionary.decoder_sha256),
        ("Source", meta.source or "unknown"),
        ("Licence", meta.licence or "unknown"),
        ("Import check", meta.check),
        *_quality(meta.quality),
        *_import(meta.imported),
    ]
    lines = [f"| {label} | {_cell(value)} |" for label, value in rows]
    return "\n".join([f"# Dictionary {dictionary.hash[:8]}", "", "| | |", "|---|---|", *lines, ""])


def _cell(text: str) -> str:
    return visible(" ".join(text.split())).replace("|", "&#124;")


def _import(origin: Provenance | None) -> list[tuple[str, str]]:
    if origin is None:
        return []
    folded = [("Folded", text) for text in origin.folded]
    files = [("File", f"{name} {sha}") for name, sha in sorted(origin.files.items())]
    checks = [
        (f"Check {c.check}", f"{'passed' if c.passed else 'not passed'}: {c.observed} (expected {c.expected})")
        for c in origin.checks
    ]
    return [("Format", origin.format), ("Revision", origin.revision or "none"), *folded, *checks, *files]


def _quality(quality: Quality | None) -> list[tuple[str, str]]:
    if quality is None:
        return [("Quality", "not measured")]
    rows = [
        ("Rows measured", f"{quality.n_rows:,}"),
        ("FVU", f"{quality.fvu:.4f}"),
        ("L0", f"{quality.l0:.2f}"),
        ("Dead, dense", f"{quality.dead} (none in {quality.n_rows:,} rows), {quality.dense} (above 0.1)"),
    ]
    if quality.delta_ce is not None:
        rows.append(("ΔCE", f"{quality.delta_ce:.4f} nats per token"))
    return rows
