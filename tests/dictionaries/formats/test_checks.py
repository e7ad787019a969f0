"""What check 5 must catch, on the bundled model: each dictionary fits one place, and is then read wrongly."""

from dataclasses import replace

import pytest
import torch

from radiograph.core import Source
from radiograph.dictionaries import activation
from radiograph.dictionaries import load as load_dictionary
from radiograph.dictionaries.formats import Recorded, build, judge, scaled
from radiograph.models import load, stream
from radiograph.organisms import bundled_path, standard_neutral

KINDS = ("resid_pre", "attn_z", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post")
FEATURES = 512


class Side:
    """The bundled model and its rows on the neutral texts at every site."""

    def __init__(self):
        self.model = load("bundled:base", resolve=bundled_path)
        sites = [f"{kind}.{layer}" for kind in KINDS for layer in range(self.model.n_layers)] + ["final_norm"]
        tokenizer = self.model.tokenizer
        ids = [tokenizer(text).input_ids[: self.model.context_length] for text in standard_neutral(tokenizer)]
        special = torch.tensor(tokenizer.all_special_ids)
        parts = {}
        for batch, found in stream(self.model, ids, [s for name in sites for s in self.model.sites(name)]):
            for line, row in enumerate(batch.rows):
                kept = ~torch.isin(torch.tensor(ids[row]), special)
                for site, values in found.items():
                    parts.setdefault(str(site), []).append(values[line, : len(kept)][kept])
        self.rows = {site: torch.cat(rows) for site, rows in parts.items()}
        self._fitted = {}

    def width_of(self, address):
        rows = self.rows.get(str(Source.parse(address).site))
        return None if rows is None else rows.shape[1]

    def rows_of(self, addresses):
        return {a: self.rows[str(Source.parse(a).site)] for a in addresses}

    def judge(self, dictionary, **more):
        known = {"width_of": self.width_of, "rows_of": self.rows_of, "files": ["a.safetensors"], "accounted": 5}
        return judge(dictionary, **{**known, **more})

    def fitted(self, *place):
        """`_fit`, once each."""
        if place not in self._fitted:
            self._fitted[place] = self._fit(*place)
        return self._fitted[place]

    def _fit(self, site, target=None, normalisation="none", size=FEATURES):
        """Random rectified features of one site, and the linear map that gets most of another out of them."""
        g = torch.Generator().manual_seed(0)
        x, y = self.rows[site].double(), self.rows[target or site].double()
        if normalisation == "unit_rms":
            x = x * (x.shape[1] ** 0.5 / x.norm(dim=1, keepdim=True))
        mean = x.mean(0)
        encoder = torch.randn(size, x.shape[1], generator=g, dtype=torch.float64) / x.std(0)
        bias = torch.randn(size, generator=g, dtype=torch.float64) * 4
        z = torch.relu((x - mean) @ encoder.T + bias)
        design = torch.cat([z, torch.ones(len(z), 1, dtype=torch.float64)], 1)
        gram = design.T @ design
        solved = torch.linalg.solve(gram + 1e-4 * gram.diagonal().mean() * torch.eye(len(gram)), design.T @ y)
        return build(
            "relu",
            encoder=encoder.float(),
            decoder=solved[:-1].float(),
            encoder_bias=bias.float(),
            input_bias=mean.float(),
            decoder_bias=solved[-1].float(),
            sites=(site,),
            target=target,
            normalisation=normalisation,
            denormalise=False,
        )


@pytest.fixture(scope="module")
def side():
    return Side()


@pytest.fixture(scope="module")
def trained():
    return load_dictionary(bundled_path("dictionary"))


def moved(dictionary, site, **fields):
    return replace(dictionary, sites=(site,), **fields)


@pytest.mark.parametrize("site", ["resid_post.1", "attn_out.1", "mlp_out.1"])
def test_a_dictionary_at_its_own_site_is_checked(side, site):
    assert side.judge(side.fitted(site)).state == "checked"


def test_the_trained_dictionary_is_checked_against_what_it_records(side, trained):
    quality = trained.metadata.neutral or trained.metadata.quality
    recorded = Recorded(quality.explained_variance, quality.l0)
    assert side.judge(trained, recorded=recorded).state == "checked"
    off = side.judge(trained, recorded=Recorded(quality.explained_variance - 0.2, quality.l0))
    assert off.state == "doubtful" and [c.check for c in off.checks if not c.passed] == ["explained_variance"]
    assert side.judge(trained, recorded=Recorded(None, quality.l0 * 3)).state == "doubtful"


@pytest.mark.parametrize(
    ("site", "stated"),
    [
        ("resid_post.1", "resid_post.2"),  # layer off by one
        ("resid_post.1", "resid_pre.1"),  # the input of a block for its output
        ("final_norm", "resid_post.3"),  # the last hidden state for the last residual
        ("attn_z.1", "attn_out.1"),  # attn_out that is attn_z
        ("attn_out.1", "attn_z.1"),
    ],
)
def test_a_site_that_is_another_is_caught(side, site, stated):
    stated = stated if stated in side.rows else f"resid_post.{side.model.n_layers - 1}"
    judged = side.judge(moved(side.fitted(site), stated))
    assert judged.state == "mismatch"


@pytest.mark.slow
def test_each_of_the_three_mlp_hooks_is_told_from_the_others(side):
    own = side.fitted("mlp_in.1", "mlp_out.1")
    before_gain = side.fitted("resid_mid.1", "mlp_out.1", "unit_rms")
    stream = side.fitted("resid_mid.1", "mlp_out.1")
    readings = {
        "mlp_in": ("mlp_in.1", "none"),
        "ln2": ("resid_mid.1", "unit_rms"),
        "mid": ("resid_mid.1", "none"),
    }
    for name, dictionary in {"mlp_in": own, "ln2": before_gain, "mid": stream}.items():
        for stated, (site, how) in readings.items():
            judged = side.judge(moved(dictionary, site, normalisation=how))
            assert (judged.state == "checked") == (stated == name), (name, stated, judged.checks)


def test_inputs_that_are_twice_as_long_are_caught(side, trained):
    doubled = scaled(trained, (2.0,), (2.0,))
    judged = side.judge(doubled)
    assert judged.state == "mismatch" and "inputs × 0.5" in judged.checks[-1].observed
    assert side.judge(scaled(trained, (0.5,), (0.5,))).state != "checked"


def test_more_active_features_explain_more_which_is_doubt_and_no_mismatch(side, trained):
    high = torch.full((trained.size,), 2.5 * float(trained.encode(side.rows["resid_post.1"][:500]).values.median()))
    strict = replace(trained, activation=activation("jumprelu"), parameters={"threshold": high})
    judged = side.judge(strict)
    assert judged.readings["inputs × 2"].fvu < 0.9 * judged.quality.fvu
    assert judged.readings["inputs × 2"].l0 > judged.quality.l0
    assert judged.state == "doubtful"


def test_permuted_decoder_rows_are_caught(side, trained):
    order = torch.randperm(trained.size, generator=torch.Generator().manual_seed(0))
    judged = side.judge(replace(trained, decoder=trained.decoder[order]))
    assert judged.state == "mismatch" and not next(c for c in judged.checks if c.check == "fvu").passed


def square(side):
    """As many features as columns: principal directions, each once, so that every matrix could be either way round."""
    rows = side.rows["resid_post.1"].double()
    mean = rows.mean(0)
    _, _, basis = torch.linalg.svd(rows - mean, full_matrices=False)
    mean, basis = mean.float(), basis.float()
    return build(
        "abstopk",
        {"k": 24},
        encoder=basis,
        decoder=basis,
        input_bias=mean,
        decoder_bias=mean,
        sites=("resid_post.1",),
    )


@pytest.mark.parametrize("which", [("encoder",), ("decoder",), ("encoder", "decoder")])
def test_square_matrices_that_lie_the_wrong_way_round_are_caught(side, which):
    dictionary = square(side)
    assert side.judge(dictionary).state == "checked"
    turned = replace(dictionary, **{name: getattr(dictionary, name).T.contiguous() for name in which})
    assert side.judge(turned).state == "mismatch"
    without_model = judge(turned, files=[], accounted=0)
    assert without_model.state == ("unchecked" if len(which) == 2 else "mismatch")


def test_without_a_model_nothing_is_claimed(trained):
    judged = judge(trained, files=["a.npz"], accounted=3)
    assert judged.state == "unchecked" and judged.quality is None
    assert [c.check for c in judged.checks] == ["no_code", "accounted", "orientation", "values", "data"]


def test_a_site_that_the_model_does_not_have_is_a_mismatch(side, trained):
    assert side.judge(moved(trained, "resid_post.77")).state == "mismatch"


def test_few_rows_leave_it_doubtful(side, trained):
    few = {a: rows[:1000] for a, rows in side.rows.items()}
    judged = side.judge(trained, rows_of=lambda addresses: {a: few[a] for a in addresses})
    assert judged.state == "doubtful" and [c.check for c in judged.checks if not c.passed] == ["rows"]


def test_models_of_a_crosscoder_that_were_swapped_are_caught(side):
    one, two = side.rows["resid_post.0"], side.rows["resid_post.1"]
    rows = {"reference/resid_post.1": two, "candidate/resid_post.1": one}
    joint = torch.cat([two, one], 1).double()
    mean = joint.mean(0)
    _, _, basis = torch.linalg.svd(joint - mean, full_matrices=False)
    mean, basis = mean.float(), basis[:64].float()
    parts = {"encoder": basis, "decoder": basis, "input_bias": mean, "decoder_bias": mean}
    known = {
        "width_of": lambda a: 64 if a in rows else None,
        "rows_of": lambda addresses: {a: rows[a] for a in addresses},
    }
    sites = tuple(rows)
    assert side.judge(build("abstopk", {"k": 24}, **parts, sites=sites), **known).state == "checked"
    judged = side.judge(build("abstopk", {"k": 24}, **parts, sites=sites[::-1]), **known)
    assert judged.state == "mismatch"
    swapped = "at candidate/resid_post.1 + reference/resid_post.1"
    assert swapped in next(c for c in side.judge(build("abstopk", {"k": 24}, **parts, sites=sites), **known).readings)
