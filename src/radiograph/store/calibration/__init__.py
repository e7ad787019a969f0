"""Calibrations on disk."""

from radiograph.store.calibration._files import (
    SHIPPED,
    SUMMARIES,
    StoredCalibration,
    array_sha256,
    calibration_sha256,
    compact,
    fitting_calibration,
    read_calibration,
    summaries_bytes,
    write_shipped,
)

__all__ = [
    "SHIPPED",
    "SUMMARIES",
    "StoredCalibration",
    "array_sha256",
    "calibration_sha256",
    "compact",
    "fitting_calibration",
    "read_calibration",
    "summaries_bytes",
    "write_shipped",
]
