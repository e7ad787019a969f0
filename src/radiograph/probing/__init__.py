"""Floor 3: linear probes. Labelled activations become a calibrated probe; a probe reads rows and says how sure it is.

Arrays in, records out: models and files are met by the verbs. Torch is never needed.
"""

from radiograph.probing._build import Built, Settings, build
from radiograph.probing._card import About, Measured, failing_of, measured, reads_text
from radiograph.probing._contrast import ContrastRow, check_distinct
from radiograph.probing._contrast import row_of as contrast_row
from radiograph.probing._judge import Judged, judged, paired, separated, shift
from radiograph.probing._probe import Probe, check_width
from radiograph.probing._read import CHUNK, Chunk, Read, chunk_rows, read, read_again
from radiograph.probing._samples import (
    CALIBRATE,
    FEWEST_GROUPS,
    FIT,
    PARTS,
    TEST,
    Samples,
    check_classes,
    given_parts,
    group_numbers,
    normalised,
    parts_of,
)

__all__ = [
    "CALIBRATE",
    "CHUNK",
    "FEWEST_GROUPS",
    "FIT",
    "PARTS",
    "TEST",
    "About",
    "Built",
    "Chunk",
    "ContrastRow",
    "Judged",
    "Measured",
    "Probe",
    "Read",
    "Samples",
    "Settings",
    "build",
    "check_classes",
    "check_distinct",
    "check_width",
    "chunk_rows",
    "contrast_row",
    "failing_of",
    "given_parts",
    "group_numbers",
    "judged",
    "measured",
    "normalised",
    "paired",
    "parts_of",
    "read",
    "read_again",
    "reads_text",
    "separated",
    "shift",
]
