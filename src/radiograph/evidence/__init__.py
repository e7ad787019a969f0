"""Floor 1: the words that leave a process. Frozen records with schema versions; nothing here imports torch."""

from radiograph.evidence._manifest import Device, InputRecord, Manifest, OutputRecord, Refused, StepRecord, ToolCall
from radiograph.evidence._record import (
    Document,
    NewerSchema,
    Record,
    RefusalRecord,
    Result,
    canonical_json,
    check_schema,
    pretty_json,
)

__all__ = [
    "Device",
    "Document",
    "InputRecord",
    "Manifest",
    "NewerSchema",
    "OutputRecord",
    "Record",
    "RefusalRecord",
    "Refused",
    "Result",
    "StepRecord",
    "ToolCall",
    "canonical_json",
    "check_schema",
    "pretty_json",
]
