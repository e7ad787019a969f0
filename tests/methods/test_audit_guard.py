"""A dictionary that does not belong is refused before any score, with both sides named, and nothing is left behind.

Each case is run again without the guard: then a score appears, so it is the guard that refuses and nothing else.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from auditing import BASE, DICTIONARY, audit, edited, noisy
from radiograph import dictionaries
from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.dictionaries import Metadata, load, save
from radiograph.store import Binding, ExplanationCache

pytestmark = pytest.mark.usefixtures("workspace")


def rows_permuted(own):
    order = torch.randperm(own.size, generator=torch.Generator().manual_seed(0))
    return replace(own, encoder=own.encoder[order], encoder_bias=own.encoder_bias[order])


def doubled(own):
    """Trained on activations twice as large."""
    twice = {n: 2 * getattr(own, n) for n in ("input_bias", "decoder", "decoder_bias")}
    wider = own.metadata.neutral.model_copy(update={"variance": 4 * own.metadata.neutral.variance})
    return replace(own, encoder=own.encoder / 2, metadata=own.metadata.model_copy(update={"neutral": wider}), **twice)


def sparser(own):
    from radiograph.dictionaries import activation

    return replace(own, activation=activation("topk", {"k": 4}))


CASES = {
    "neighbouring layer": (lambda own: replace(own, sites=("resid_post.0",)), "explained_variance"),
    "the layer after": (lambda own: replace(own, sites=("resid_post.2",)), "explained_variance"),
    "rows permuted": (rows_permuted, "explained_variance"),
    "activations doubled": (doubled, "scale"),
    "another sparsity": (sparser, "l0"),
    "metadata deleted": (lambda own: replace(own, metadata=Metadata()), "metadata"),
    "import not checked": (
        lambda own: replace(own, metadata=own.metadata.model_copy(update={"check": "unchecked"})),
        "metadata",
    ),
    "quality deleted": (
        lambda own: replace(own, metadata=own.metadata.model_copy(update={"quality": None, "neutral": None})),
        "metadata",
    ),
}


def refused(workspace, reference="bundled:base", candidate="bundled:base", **config):
    with pytest.raises(Refusal) as caught:
        audit(reference, candidate, out="run", **config)
    refusal = caught.value
    assert refusal.exit_code is ExitCode.BAD_INPUT
    assert refusal.expected and refusal.got
    assert not [p for p in workspace.rglob("*") if p.name == "score.json" or p.name.startswith("run")]
    return refusal


@pytest.mark.parametrize("case", CASES)
def test_a_dictionary_that_does_not_belong_is_refused(workspace, few, case):
    """D1."""
    make, check = CASES[case]
    save(make(load(DICTIONARY)), workspace / "dictionary")
    refusal = refused(workspace, suite=few, dictionary="dictionary")
    assert refusal.code == "dictionary_mismatch"
    assert check in refusal.expected and check in refusal.got


QUICK = ("neighbouring layer", "import not checked")
"""One of each kind: another dictionary, and the same one whose file says less."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=() if c in QUICK else pytest.mark.slow)
        for c in CASES
        if c not in ("metadata deleted", "quality deleted")
    ],
)
def test_without_the_guard_it_would_have_scored(workspace, few, case, monkeypatch):
    """D1: so the test above fails if the guard is removed."""
    monkeypatch.setattr(dictionaries, "require", lambda checks: None)
    save(CASES[case][0](load(DICTIONARY)), workspace / "dictionary")
    outcome = audit("bundled:base", "bundled:base", suite=few, dictionary="dictionary")
    assert json.loads((outcome.path / "score.json").read_text())["status"] == "measured"


def test_a_model_of_another_seed_is_refused(workspace, few):
    noisy(workspace / "other", 0.5)
    refusal = refused(workspace, "other", "other", suite=few, dictionary="dictionary:bundled")
    own = load(DICTIONARY).metadata.model.tensors_sha256
    assert own in refusal.expected and own not in refusal.got and "model: " in refusal.got


def test_claiming_another_models_hash_does_not_help(workspace, few):
    """Behaviour decides, not what the file says."""
    from radiograph.models import stored

    def fresh(name, tensor):
        generator = torch.Generator().manual_seed(7)
        return tensor.std() * torch.randn(tensor.shape, generator=generator) if tensor.ndim > 1 else tensor

    edited(workspace / "other", fresh)
    own = load(DICTIONARY)
    claim = own.metadata.model.model_copy(update={"tensors_sha256": stored("other").identity.tensors_sha256})
    save(replace(own, metadata=own.metadata.model_copy(update={"model": claim})), workspace / "dictionary")
    refusal = refused(workspace, "other", "other", suite=few, dictionary="dictionary")
    assert "model: " not in refusal.expected and "explained_variance" in refusal.expected


@pytest.mark.parametrize("site", ["resid_post.7", "mlp_hidden.1"])
def test_a_site_or_width_that_the_model_has_not(workspace, few, site):
    save(replace(load(DICTIONARY), sites=(site,)), workspace / "dictionary")
    refusal = refused(workspace, suite=few, dictionary="dictionary")
    assert ("site" if site == "resid_post.7" else "width") in refusal.expected


def test_wrong_width(workspace, few):
    own = load(DICTIONARY)
    half = {n: getattr(own, n)[..., :32].contiguous() for n in ("encoder", "decoder", "input_bias", "decoder_bias")}
    save(replace(own, **half), workspace / "dictionary")
    refusal = refused(workspace, suite=few, dictionary="dictionary")
    assert "width: 32" in refusal.expected and "width: 64" in refusal.got


def test_wrong_orientation_is_no_dictionary(workspace, few):
    from safetensors.torch import load_file, save_file

    shutil.copytree(DICTIONARY, workspace / "dictionary")
    path = workspace / "dictionary" / "dictionary.safetensors"
    tensors = load_file(path)
    save_file({n: t.T.contiguous() if t.ndim == 2 else t for n, t in tensors.items()}, path)
    with pytest.raises(FormatError):
        audit("bundled:base", "bundled:base", suite=few, dictionary="dictionary", out="run")
    assert not list(workspace.glob("run*"))


@pytest.mark.slow
def test_a_name_changes_nothing(workspace, few):
    shutil.copytree(DICTIONARY, workspace / "blocks.0.hook_resid_pre")
    noisy(workspace / "c", 0.1)
    runs = [
        audit("bundled:base", "c", suite=few, dictionary=d).result
        for d in ("blocks.0.hook_resid_pre", "dictionary:bundled")
    ]
    assert runs[0].score == runs[1].score
    assert runs[0].interp_evidence.dictionary.sha256 == runs[1].interp_evidence.dictionary.sha256


def test_labels_of_another_dictionary_are_refused(workspace, few):
    with ExplanationCache.create(workspace / "labels.sqlite") as cache:
        cache.bind("m", "2-res", Binding("e" * 64, "resid_post.2", 512))
    refusal = refused(workspace, suite=few, explanations="cache:labels.sqlite#m/2-res")
    assert refusal.code == "explanations_mismatch"
    assert load(DICTIONARY).decoder_sha256 in refusal.expected
    assert "e" * 64 in refusal.got and "resid_post.2, 512 features" in refusal.got


@pytest.mark.parametrize("damage", ["corrupt", "newer", "no source", "no file"])
def test_labels_that_cannot_be_read(workspace, few, damage):
    import sqlite3

    shutil.copy(DICTIONARY / "labels.sqlite", workspace)
    if damage == "corrupt":
        data = (workspace / "labels.sqlite").read_bytes()
        (workspace / "labels.sqlite").write_bytes(data[:4096] + b"\x00" * (len(data) - 4096))
    elif damage == "newer":
        connection = sqlite3.connect(workspace / "labels.sqlite")
        connection.executescript("UPDATE meta SET value = '99'")
        connection.close()
    source = "none/such" if damage == "no source" else "shipped/dictionary"
    name = "missing.sqlite" if damage == "no file" else "labels.sqlite"
    with pytest.raises(UserError) as caught:
        audit("bundled:base", "bundled:base", suite=few, explanations=f"cache:{name}#{source}", out="run")
    assert caught.value.exit_code is ExitCode.BAD_INPUT and not list(workspace.glob("run*"))


def test_without_labels_features_have_none_and_the_run_goes_on(workspace, few):
    noisy(workspace / "c", 0.2)
    evidence = audit("bundled:base", "c", suite=few, explanations="none").result.interp_evidence
    assert evidence.coverage.none == evidence.coverage.distinct > 0 and evidence.explanations.source == "none"


def test_the_bundled_base_is_what_the_bundled_dictionary_knows():
    assert load(DICTIONARY).metadata.model.reference == "bundled:base" and BASE.is_dir()
