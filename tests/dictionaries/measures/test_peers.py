"""Our numbers beside those of SAELens' own evaluation, on the same dictionary and the same rows."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from dictionaries.make import random_dictionary
from radiograph.dictionaries import load
from radiograph.dictionaries.formats import export
from radiograph.organisms import bundled_path

from .test_tables import blocks, rows, tables

SCRIPT = Path(__file__).parent / "peers" / "saelens.py"
PEER = os.environ.get("RADIOGRAPH_PEER_SAELENS")
SAME = {
    "explained_variance": "explained_variance",
    "l0": "l0",
    "l1": "l1",
    "cossim": "cosine",
    "l2_ratio": "norm_ratio",
}
"""Defined alike: over the set, whatever the batches."""
IN_ONE_BATCH = {"explained_variance_legacy": "ev_per_token", "relative_reconstruction_bias": "shrinkage"}
"""Alike if there is one batch: SAELens takes the mean of each batch, or averages a ratio over batches."""


def theirs(folder, x, work, batches):
    save_file({"rows": x}, work / "rows.safetensors")
    command = [PEER, SCRIPT, folder, work / "rows.safetensors", work / "out.json", str(batches)]
    subprocess.run(command, check=True, timeout=300)
    return json.loads((work / "out.json").read_text())


@pytest.mark.peers
@pytest.mark.skipif(not PEER, reason="RADIOGRAPH_PEER_SAELENS names no interpreter with SAELens")
@pytest.mark.parametrize("name", ["bundled", "topk", "jumprelu", "relu", "gated"])
def test_numbers_are_those_of_saelens_where_definitions_coincide(name, tmp_path):
    d = load(bundled_path("dictionary")) if name == "bundled" else random_dictionary(name)
    x = rows(1200, width=d.width)
    export(d, "saelens", tmp_path / "ours")
    ours = tables(d, blocks(x))
    whole, parts = (theirs(tmp_path / "ours", x, tmp_path, batches) for batches in (1, 5))
    for found in (whole, parts):
        for foreign, own in SAME.items():
            assert found[foreign] == pytest.approx(ours.number(own), rel=1e-4, abs=1e-4), foreign
        assert np.array(found["feature_density"]) == pytest.approx(ours.density, abs=1e-4)
    for foreign, own in IN_ONE_BATCH.items():
        if ours.number(own) is not None:
            assert whole[foreign] == pytest.approx(ours.number(own), rel=1e-4, abs=1e-4), foreign
    assert parts["explained_variance_legacy"] != pytest.approx(ours.number("ev_per_token"), abs=1e-6)
