"""Every pair of axes, its verdict and its exit code, as the rule of verdicts states them."""

CELLS = {
    ("no", "no"): ("no-evidence", 0),
    ("no", "yes"): ("targeted-change", 2),
    ("no", "anomalous"): ("inconclusive", 4),
    ("no", "unknown"): ("inconclusive", 4),
    ("yes", "no"): ("degraded", 2),
    ("yes", "yes"): ("degraded+targeted", 2),
    ("yes", "anomalous"): ("degraded", 2),
    ("yes", "unknown"): ("degraded", 2),
    ("unknown", "no"): ("inconclusive", 4),
    ("unknown", "yes"): ("targeted-change", 2),
    ("unknown", "anomalous"): ("inconclusive", 4),
    ("unknown", "unknown"): ("inconclusive", 4),
}
