"""Floor 2: every byte in and out. Bundles, transcripts, suites, caches, and the paths that may be touched."""

from radiograph.store._atomic import sync, write_whole
from radiograph.store._bundle import (
    MANIFEST,
    PARTIAL,
    REPORTS,
    SIDECAR,
    TIMED,
    Bundle,
    BundleWriter,
    complete,
    derived,
    evidence_sha256,
    finished,
    is_run,
    now,
    untouched,
)
from radiograph.store._commit import commit_of
from radiograph.store._explanations import Binding, ExplanationCache, Provenance, ReadFile
from radiograph.store._hashing import file_sha256, folder_sha256, listing_sha256, tree
from radiograph.store._located import load_yaml
from radiograph.store._suites import read_suite, suite_from_document, suite_sha256
from radiograph.store._transcript import Transcript, broken_links, first_link
from radiograph.store._workspace import Workspace

__all__ = [
    "MANIFEST",
    "PARTIAL",
    "REPORTS",
    "SIDECAR",
    "TIMED",
    "Binding",
    "Bundle",
    "BundleWriter",
    "ExplanationCache",
    "Provenance",
    "ReadFile",
    "Transcript",
    "Workspace",
    "broken_links",
    "commit_of",
    "complete",
    "derived",
    "evidence_sha256",
    "file_sha256",
    "finished",
    "first_link",
    "folder_sha256",
    "is_run",
    "listing_sha256",
    "load_yaml",
    "now",
    "read_suite",
    "suite_from_document",
    "suite_sha256",
    "sync",
    "tree",
    "untouched",
    "write_whole",
]
