"""The guard on a real model: the right dictionary passes, every wrong one is refused by the line that is for it."""

from dataclasses import replace

import pytest
import torch

from harvest.make import sentences, with_bos
from models.make import network
from radiograph.core import ExitCode, Refusal
from radiograph.dictionaries import Metadata, ModelIdentity, check, load, neighbours, require, save
from radiograph.dictionaries.training import TrainingConfig, train
from radiograph.harvest import harvest, read
from radiograph.models import wrap

from .training.held import held

SITES = ["resid_post.0", "resid_post.1", "resid_post.2"]


class Side:
    """A model with neutral rows at every site, as a caller of the guard holds it."""

    def __init__(self, seed):
        self.model = wrap(network("llama", seed), with_bos())
        self.sha256 = self.model.identity.tensors_sha256
        self.shards = harvest(self.model, read(sentences(500)), SITES, validation=0.5)
        self.widths = {source.removeprefix("reference/"): w for source, w in self.shards.widths.items()}

    def rows_at(self, site):
        return self.shards.rows(site, "validation")

    def check(self, dictionary, **changes):
        known = {"model_sha256": self.sha256, "widths": self.widths, "rows_at": self.rows_at}
        return check(dictionary, **{**known, **changes})


def failed(checks):
    return {c.name for c in checks if not c.passed}


@pytest.fixture(scope="module")
def side():
    return Side(0)


@pytest.fixture(scope="module")
def other():
    return Side(1)


@pytest.fixture(scope="module")
def dictionary(side):
    config = TrainingConfig(size=128, k=8, learning_rate=2e-3, tokens=300 * 512, batch=512)
    model = ModelIdentity(reference="memory", tensors_sha256=side.sha256)
    rows = [side.shards.rows("resid_post.1", split) for split in ("validation", "train")]
    share = len(rows[0]) / sum(map(len, rows))
    return train(held(torch.cat(rows), validation=share), config, metadata=Metadata(model=model)).dictionary


def change_metadata(dictionary, **fields):
    return replace(dictionary, metadata=dictionary.metadata.model_copy(update=fields))


def test_the_right_dictionary_passes(side, dictionary):
    checks = side.check(dictionary, explanations_sha256=dictionary.decoder_sha256)
    assert failed(checks) == set()
    require(checks)
    assert [c.name for c in checks] == [
        *("metadata", "model", "site", "width", "rows", "scale", "explained_variance", "l0", "best_at_site"),
        "explanations",
    ]


@pytest.fixture(scope="module")
def wrong_cases(side, other, dictionary):
    """Name to (checks, the lines that refuse it, all of them)."""
    d = dictionary
    shuffled = torch.randperm(d.size, generator=torch.Generator().manual_seed(0))
    forged = ModelIdentity(reference="memory", tensors_sha256=other.sha256)
    narrow = {**side.widths, "resid_post.1": 33}
    behaviour = {"rows", "scale", "explained_variance", "l0", "best_at_site"}
    recorded = d.metadata.quality
    return {
        "neighbouring layer": (side.check(replace(d, sites=("resid_post.2",))), {"explained_variance", "best_at_site"}),
        "neighbour, quality forged": (
            side.check(forge_quality(replace(d, sites=("resid_post.2",)), side)),
            {"best_at_site"},
        ),
        "model of another seed": (other.check(d), {"model", "explained_variance"}),
        "model of another seed, hash forged": (other.check(change_metadata(d, model=forged)), {"explained_variance"}),
        "same behaviour, another hash": (side.check(d, model_sha256=other.sha256), {"model"}),
        "rows permuted": (side.check(replace(d, decoder=d.decoder[shuffled])), {"explained_variance"}),
        "wrong width": (side.check(d, widths=narrow), {"width"} | behaviour),
        "site the model lacks": (side.check(replace(d, sites=("resid_post.7",))), {"site", "width"} | behaviour),
        "activations doubled": (side.check(d, rows_at=lambda s: 2 * side.rows_at(s)), {"scale"}),
        # Top-k follows a stretch about its own bias exactly: only the scale of the rows tells.
        "activations doubled about the bias": (
            side.check(d, rows_at=lambda s: 2 * side.rows_at(s) - d.input_bias),
            {"scale"},
        ),
        "too few rows": (side.check(d, rows_at=lambda s: side.rows_at(s)[:2047]), {"rows"}),
        "sparsity forged": (
            side.check(change_metadata(d, quality=recorded.model_copy(update={"l0": recorded.l0 * 2.1}))),
            {"l0"},
        ),
        "metadata deleted": (side.check(replace(d, metadata=Metadata())), {"metadata", "model"} | behaviour),
        "model hash deleted": (
            side.check(change_metadata(d, model=ModelIdentity(reference="memory"))),
            {"metadata", "model"},
        ),
        "import never checked": (side.check(change_metadata(d, check="unchecked")), {"metadata"}),
        "explanations of another decoder": (side.check(d, explanations_sha256="0" * 64), {"explanations"}),
    }


def forge_quality(d, side):
    from radiograph.dictionaries import evaluate

    return change_metadata(d, quality=evaluate(d, [side.rows_at(d.site)]))


@pytest.mark.parametrize(
    "case",
    [
        "neighbouring layer",
        "neighbour, quality forged",
        "model of another seed",
        "model of another seed, hash forged",
        "same behaviour, another hash",
        "rows permuted",
        "wrong width",
        "site the model lacks",
        "activations doubled",
        "activations doubled about the bias",
        "too few rows",
        "sparsity forged",
        "metadata deleted",
        "model hash deleted",
        "import never checked",
        "explanations of another decoder",
    ],
)
def test_a_wrong_dictionary_is_refused_by_its_own_line(case, wrong_cases):
    checks, lines = wrong_cases[case]
    assert failed(checks) >= lines, checks
    with pytest.raises(Refusal) as refusal:
        require(checks)
    assert refusal.value.code == "dictionary_mismatch"
    assert refusal.value.exit_code is ExitCode.BAD_INPUT
    for c in checks:
        if not c.passed:
            assert f"{c.name}: {c.expected}" in refusal.value.expected
            assert f"{c.name}: {c.observed}" in refusal.value.got


# A guard that never fires is worse than none: for every line there is a wrong dictionary that this line alone stops.
ALONE = {
    "metadata": "import never checked",
    "model": "same behaviour, another hash",
    "rows": "too few rows",
    "scale": "activations doubled about the bias",
    "explained_variance": "rows permuted",
    "l0": "sparsity forged",
    "best_at_site": "neighbour, quality forged",
    "explanations": "explanations of another decoder",
}


@pytest.mark.parametrize("line", ALONE)
def test_without_its_line_the_wrong_dictionary_would_pass(line, wrong_cases):
    checks, _ = wrong_cases[ALONE[line]]
    assert failed(checks) == {line}
    require([c for c in checks if c.name != line])


def test_no_check_is_no_pass():
    with pytest.raises(Refusal):
        require([])


def test_names_of_files_and_models_mean_nothing(side, dictionary, tmp_path):
    save(dictionary, tmp_path / "resid_post.2-of-another-model")
    renamed = load(tmp_path / "resid_post.2-of-another-model")
    model = renamed.metadata.model.model_copy(update={"reference": "somebody/else"})
    assert side.check(change_metadata(renamed, model=model, source="resid_post.0")) == side.check(dictionary)


def test_neighbours_are_the_same_kind_next_door(side):
    assert neighbours("resid_post.1", side.widths) == ["resid_post.0", "resid_post.2"]
    assert neighbours("resid_post.0", side.widths) == ["resid_post.1"]
    assert neighbours("resid_post.1", {**side.widths, "resid_post.2": 64}) == ["resid_post.0"]
    assert neighbours("embed", {"embed": 32}) == []
