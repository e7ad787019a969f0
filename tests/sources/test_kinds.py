"""What each kind gives, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from radiograph.core import MissingExtra, Refusal, UserError
from radiograph.sources import Dumped, Live, Options, Stored
from radiograph.store.directions import DirectionsHeader, MatrixRecord, write_directions

from .conftest import make_context


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_toy_is_the_bundled_dictionary_and_says_so(context, base):
    found = context.features("toy#3,7-9")
    assert isinstance(found, Live) and found.codes == ("toy_evidence",)
    (features,) = found.open(base)
    assert features.ids == [f"resid_post.1@{features.codec.hash[:8]}#{n}" for n in (3, 7, 8, 9)]
    assert features.directions.shape == (4, 64) and features.pool == "max"
    assert features.labels[3]
    assert context.inputs["features"].sha256 == features.codec.hash


def test_units_of_many_sites_are_one_codec_each(context, base):
    found = context.features("units:mlp_hidden.*#1-3")
    parts = found.open(base)
    assert [part.site for part in parts] == ["mlp_hidden.0", "mlp_hidden.1", "mlp_hidden.2"]
    assert parts[1].ids == ["mlp_hidden.1[1]", "mlp_hidden.1[2]", "mlp_hidden.1[3]"]
    assert parts[0].pool == "last" and np.array_equal(parts[0].directions, np.eye(176, dtype=np.float32)[1:4])
    (one,) = context.features("units:blocks.1.hook_resid_post[5]").open(base)
    assert one.ids == ["resid_post.1[5]"]
    with pytest.raises(UserError, match="0 to 63"):
        context.features("units:resid_post.1#64").open(base)
    with pytest.raises(UserError, match="outside the model"):
        context.features("units:resid_post.9").open(base)


def test_the_same_few_features_are_drawn_from_one_seed(context, base):
    options = Options(max_features=10)
    (first,) = context.features("toy", "a", options).open(base)
    (again,) = context.features("toy", "a", options).open(base)
    (other,) = context.features("toy", "b", options).open(base)
    assert len(first) == 10 and first.ids == again.ids and sorted(first.numbers) == list(first.numbers)
    assert first.ids != other.ids


def test_labels_of_the_user_come_before_those_beside_the_dictionary(context, base, workspace):
    lines(
        workspace / "l.jsonl", {"index": 3, "label": "mine"}, {"feature_id": "resid_post.1[4]", "description": "four"}
    )
    (features,) = context.features("toy", options=Options(labels="l.jsonl")).open(base)
    assert (features.labels[3], features.labels[4]) == ("mine", "four") and len(features.labels) > 2
    lines(workspace / "bad.jsonl", {"index": 3}, {"label": "x"}, {"index": 1, "label": "a"}, {"index": 1, "label": "b"})
    with pytest.raises(UserError) as caught:
        context.features("toy", options=Options(labels="bad.jsonl"))
    assert "3 mistakes" in str(caught.value) and "bad.jsonl:4" in str(caught.value)


def test_a_dictionary_of_another_model_is_refused_with_both_sides(context, base):
    from dataclasses import replace

    other = replace(base, ref=base.ref)
    object.__setattr__(other, "identity", replace(base.identity, tensors_sha256="0" * 64))
    with pytest.raises(Refusal) as caught:
        context.features("dictionary:bundled").open(other)
    assert caught.value.code == "dictionary_mismatch" and "0" * 64 in str(caught.value.got)


def test_directions_of_a_file_are_projections_of_length_one(context, base, workspace):
    g = np.random.default_rng(0)
    one, many = g.normal(size=64), g.normal(size=(3, 64))
    header = DirectionsHeader(
        tensors={
            "steer": MatrixRecord(site="resid_post.2"),
            "resid_post.1": MatrixRecord(site="resid_post.1", names=("resid_post.1~unit", "b", "c")),
        },
        model_sha256=base.identity.tensors_sha256,
        scale="raw",
    )
    write_directions(workspace / "d.safetensors", header, {"steer": one, "resid_post.1": many})
    parts = context.features("direction:d.safetensors").open(base)
    named = {part.site: part for part in parts}
    assert named["resid_post.2"].ids == ["resid_post.2~steer"]
    assert named["resid_post.1"].ids == ["resid_post.1~unit", "resid_post.1~b", "resid_post.1~c"]
    rows = torch.from_numpy(g.normal(size=(5, 64)).astype(np.float32))
    wanted = rows.numpy() @ (one / np.linalg.norm(one))
    assert np.allclose(named["resid_post.2"].codec.encode(rows).values.numpy(), wanted, atol=1e-5)
    assert np.allclose(np.linalg.norm(named["resid_post.1"].directions, axis=1), 1)
    wrong = header.model_copy(update={"model_sha256": "f" * 64})
    write_directions(workspace / "w.safetensors", wrong, {"steer": one, "resid_post.1": many})
    with pytest.raises(Refusal, match="another model"):
        context.features("direction:w.safetensors").open(base)


RECORDS = [
    {
        "model": "m",
        "prompt_id": f"p{n}",
        "text": f"t {n}",
        "features": {"mlp_out.0[3]": 0.5, "mlp_out.0[7]": 1.0, "x": 2.0},
    }
    for n in range(3)
]


def test_records_are_read_and_numbers_choose_among_them(context, workspace):
    lines(workspace / "r.jsonl", *RECORDS)
    found = context.features("records:r.jsonl#7")
    assert isinstance(found, Stored) and found.name == "records:r.jsonl#7"
    assert [n for n, own in zip(found.records.features["feature_id"], found.chosen, strict=True) if own] == [
        "mlp_out.0[7]"
    ]
    assert context.features("records:r.jsonl").chosen is None
    with pytest.raises(UserError, match="chooses none"):
        context.features("records:r.jsonl#8")
    with pytest.raises(UserError, match="nothing at"):
        context.features("records:none.jsonl")


def test_records_are_drawn_from_and_labelled_as_the_user_says(context, workspace):
    lines(workspace / "r.jsonl", *RECORDS)
    lines(workspace / "labels.jsonl", {"index": 7, "label": "seven"}, {"index": 2, "label": "x"})
    found = context.features("records:r.jsonl", "features", Options(max_features=2, labels="labels.jsonl"))
    assert found.chosen.sum() == 2
    assert found.records.features["label"].to_list() == [None, "seven", "x"]
    assert context.features("records:r.jsonl", "features", Options(max_features=3)).chosen is None


def test_hidden_states_have_sites_where_the_depth_is_known(context, workspace):
    lines(workspace / "r.jsonl", *({**row, "features": {"L1:D3": 1.0}} for row in RECORDS))
    assert context.features("records:r.jsonl").records.features["site"].to_list() == [None]
    deep = context.features("records:r.jsonl", "features", Options(n_layers=6))
    assert deep.records.features["site"].to_list() == ["resid_pre.1"]


def test_y3_18_a_dump_is_not_measured_and_its_effects_are_claims(context, workspace):
    lines(
        workspace / "d.jsonl",
        {"model": "m", "feature_id": "a", "label": "A", "causal_effects": {"logit": 0.5}},
        {"model": "m", "feature_id": "b"},
    )
    found = context.features("jsonl:d.jsonl")
    assert isinstance(found, Dumped) and found.codes == ("claimed_by_source",)
    assert found.table["feature_id"].to_list() == ["a", "b"]
    assert json.loads(found.table["claimed_effects"][0]) == {"logit": 0.5}
    assert context.features("jsonl:d.jsonl#1").table["feature_id"].to_list() == ["b"]
    assert context.features("jsonl:d.jsonl#1").codes == ()


def test_places_outside_the_workspace_are_refused(workspace):
    confined = make_context(workspace, confined=True)
    for kind in ("records", "jsonl", "direction"):
        with pytest.raises(UserError) as caught:
            confined.features(f"{kind}:../x")
        assert caught.value.code == "path_outside_workspace"
    for text in ("records:../x", "dictionary:/etc#3", "scope:qwen-scope/../x/2", "direction:../d"):
        with pytest.raises(UserError):
            confined.workspace.confine(text)


def test_a_manifest_holds_no_absolute_place(workspace):
    (workspace / "made").mkdir()
    place = make_context(workspace).workspace
    assert place.portable(f"records:{workspace}/made#3,4") == "records:made#3,4"
    assert place.portable("dictionary:bundled#3") == "dictionary:bundled#3"
    assert place.portable("units:resid_post.2") == "units:resid_post.2"


class TestScope:
    """Gemma Scope and Qwen-Scope from folders here."""

    def gemma(self, folder, base, width=64, size=32):
        g = np.random.default_rng(0)
        place = folder / "gemma-scope-2b-pt-res" / "layer_1" / "width_16k" / "average_l0_8"
        place.mkdir(parents=True)
        arrays = {"W_enc": g.normal(size=(width, size)), "W_dec": g.normal(size=(size, width))}
        arrays |= {"b_enc": np.zeros(size), "b_dec": np.zeros(width), "threshold": np.full(size, 0.5)}
        np.savez(place / "params.npz", **{name: value.astype(np.float32) for name, value in arrays.items()})
        return arrays

    def test_z_gemma_scope_is_encoded_as_its_file_says(self, context, base, workspace):
        arrays = self.gemma(workspace, base)
        text = "scope:gemma-scope/gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_8/params.npz#3-5"
        found = context.features(text)
        assert "Gemma Scope" in str(found.citation)
        (features,) = found.open(base)
        assert features.site == "resid_post.1" and list(features.numbers) == [3, 4, 5]
        rows = np.random.default_rng(1).normal(size=(6, 64)).astype(np.float32)
        before = rows @ arrays["W_enc"]
        norms = np.linalg.norm(arrays["W_dec"], axis=1)
        codes = features.codec.encode(torch.from_numpy(rows))
        wanted = np.where(before > 0.5, before, 0) * norms
        made = np.zeros_like(wanted)
        made[codes.rows.numpy(), codes.indices.numpy()] = codes.values.numpy()
        assert np.allclose(made, wanted, atol=1e-3)

    def test_z_qwen_scope_needs_a_k_from_its_name_or_from_the_user(self, context, base, workspace):
        g = torch.Generator().manual_seed(0)
        tensors = {"W_enc": torch.randn(32, 64, generator=g), "W_dec": torch.randn(64, 32, generator=g)}
        tensors |= {"b_enc": torch.zeros(32), "b_dec": torch.zeros(64)}
        (workspace / "qwen").mkdir()
        for layer in (0, 2):
            torch.save(tensors, workspace / "qwen" / f"layer{layer}.sae.pt")
        with pytest.raises(Refusal) as caught:
            context.features("scope:qwen-scope/qwen/2").open(base)
        assert "--k" in str(caught.value.fix)
        (features,) = context.features("scope:qwen-scope/qwen/2", options=Options(k=4)).open(base)
        assert features.site == "resid_post.2"
        codes = features.codec.encode(torch.randn(5, 64, generator=g))
        assert codes.active.tolist() == [4] * 5

    def test_what_is_not_here_is_not_fetched(self, context, base):
        found = context.features("scope:gemma-scope/google/gemma-scope-2b-pt-res/layer_20/params.npz")
        with pytest.raises(UserError) as caught:
            found.open(base)
        assert caught.value.code == "not_cached" and "--online" in str(caught.value.fix)
        for text in ("scope:pear-scope/a/b", "scope:gemma-scope", "scope:qwen-scope/a/b"):
            with pytest.raises(UserError) as caught:
                context.features(text)
            assert caught.value.code == "bad_features"


class TestSaeLens:
    """Folders that SAELens wrote need no package; names of releases do."""

    @pytest.mark.slow
    def test_z_a_folder_is_read_by_our_reader(self, context, base, workspace):
        from pathlib import Path

        from radiograph import dictionaries
        from radiograph.dictionaries.formats import export

        bundled = dictionaries.load(Path(dictionaries.__file__).parent.parent / "organisms" / "bundled" / "dictionary")
        export(bundled, "saelens", workspace / "made")
        (features,) = context.features("saelens:made#0-3").open(base)
        rows = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
        one, two = features.codec.encode(rows), bundled.encode(rows)
        assert torch.equal(one.indices, two.indices) and torch.allclose(one.values, two.values, atol=1e-4)

    def test_z_without_the_package_a_release_is_a_missing_extra(self, context, monkeypatch):
        monkeypatch.setitem(sys.modules, "sae_lens", None)
        with pytest.raises(MissingExtra, match="sae_lens"):
            context.features("saelens:gpt2-small-res-jb/blocks.6.hook_resid_pre")
        assert context.features("units:embed").kind == "live"

    def test_a_release_is_looked_up_in_its_list(self, context, base, monkeypatch):
        import types

        known = types.SimpleNamespace(repo_id="a/b", saes_map={"layer_1/x": "layer_1/x"})
        module = types.ModuleType("sae_lens.loading.pretrained_saes_directory")
        module.get_pretrained_saes_directory = lambda: {"rel": known}  # type: ignore[attr-defined]
        for name in ("sae_lens", "sae_lens.loading"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        with pytest.raises(UserError, match="no dictionary 'layer_2/x'"):
            context.features("saelens:rel/layer_2/x")
        with pytest.raises(UserError, match="no release 'ral'"):
            context.features("saelens:ral/layer_1/x")
        with pytest.raises(UserError, match="a/b/layer_1/x"):
            context.features("saelens:rel/layer_1/x").open(base)


@pytest.mark.slow
def test_records_and_dumps_are_opened_without_torch(workspace):
    import subprocess

    lines(workspace / "r.jsonl", *RECORDS)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from sources.conftest import make_context\n"
        "c = make_context(Path.cwd())\n"
        "c.features('records:r.jsonl'); c.features('dictionary:bundled'); c.features('units:embed')\n"
        "print('torch' in sys.modules)"
    )
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "False", done.stderr
