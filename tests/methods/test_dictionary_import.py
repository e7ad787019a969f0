"""`dictionary import` and `dictionary export`: there and back, and every state with its exit code."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from radiograph import dictionaries
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.dictionaries.formats import DictionarySet
from radiograph.organisms import bundled_path
from radiograph.runtime import Settings, execute, find, resolve
from radiograph.store import Workspace
from running import go

MODEL = "bundled:base"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled dictionary as SAELens has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("export"))
        outcome = go("dictionary.export", out="out", dictionary="dictionary:bundled", to="saelens")
    assert outcome.exit_code is ExitCode.PASS and outcome.result.identical
    assert outcome.result.files.keys() == {"cfg.json", "sae_weights.safetensors"}
    return outcome.path / "export"


def test_there_and_back_is_the_same_dictionary_checked_against_its_model(exported, workspace):
    outcome = go("dictionary.import", out="out", source=str(exported), model=MODEL)
    (found,) = outcome.result.dictionaries
    original = dictionaries.load(bundled_path("dictionary"))
    assert (outcome.exit_code, found.state, found.sha256) == (ExitCode.PASS, "checked", original.hash)
    again = dictionaries.load(outcome.path / found.folder)
    meta = again.metadata
    assert meta.model.tensors_sha256 == original.metadata.model.tensors_sha256
    assert meta.tokenizer_sha256 == original.metadata.tokenizer_sha256
    assert meta.neutral.fvu == pytest.approx(found.fvu) and meta.imported.files == outcome.result.files
    card = (outcome.path / "dictionary" / "card.md").read_text()
    for word in ("saelens", "Check best_reading", "sae_weights.safetensors", "checked"):
        assert word in card


def test_a_wrong_site_exits_2_and_saves_nothing(exported, workspace):
    outcome = go("dictionary.import", out="out", source=str(exported), model=MODEL, site="resid_post.2")
    (found,) = outcome.result.dictionaries
    assert (outcome.exit_code, found.state, found.folder) == (ExitCode.GATE_FAILED, "mismatch", None)
    assert "dictionary_mismatch" in outcome.result.headline and "resid_post.1" in outcome.result.headline
    assert not (outcome.path / "dictionary").exists()


def test_without_a_model_it_is_unchecked_and_the_guard_refuses_it(exported, workspace):
    outcome = go("dictionary.import", out="out", source=str(exported))
    assert outcome.result.dictionaries[0].state == "unchecked" and outcome.exit_code is ExitCode.PASS
    dictionary = dictionaries.load(outcome.path / "dictionary")
    width = {"resid_post.1": dictionary.width}
    checks = dictionaries.check(dictionary, model_sha256="0" * 64, widths=width, rows_at=lambda site: None)
    assert not checks[0].passed and "import check" in checks[0].observed
    with pytest.raises(Refusal, match="does not belong"):
        dictionaries.require(checks)


def test_a_set_is_a_folder_each_and_a_list(exported, workspace):
    for layer in (0, 1):
        folder = Path("set") / f"layer_{layer}"
        folder.mkdir(parents=True)
        config = json.loads((exported / "cfg.json").read_text())
        config["metadata"]["hook_name"] = f"blocks.{layer}.hook_resid_post"
        (folder / "cfg.json").write_text(json.dumps(config))
        (folder / "sae_weights.safetensors").write_bytes((exported / "sae_weights.safetensors").read_bytes())
    outcome = go("dictionary.import", out="out", source="set")
    listed = DictionarySet.read(json.loads((outcome.path / "dictionary" / "set.json").read_text()))
    assert [entry.folder for entry in listed.dictionaries] == ["layer_0", "layer_1"]
    for entry in listed.dictionaries:
        assert dictionaries.load(outcome.path / "dictionary" / entry.folder).hash == entry.sha256
    checked = go("dictionary.import", out="checked", source="set", model=MODEL)
    assert [d.state for d in checked.result.dictionaries] == ["mismatch", "checked"]
    assert checked.exit_code is ExitCode.GATE_FAILED
    one = go("dictionary.import", out="one", source="set", layer=1)
    assert dictionaries.load(one.path / "dictionary").sites == ("resid_post.1",)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"source": "somebody/something"}, "not_found"),
        ({"source": "somebody/something/layer_1@main"}, "not_found"),
        ({"source": "somebody/something", "from_hub": True}, "revision_missing"),
        ({"source": "somebody/something@v1", "from_hub": True}, "hub_unreachable"),
        ({"source": "nowhere"}, "not_found"),
        ({"format": "saelnes"}, "unknown_format"),
        ({"input_scale": "1;2"}, "bad_input"),
        ({"site": "resid_pots.1"}, "unknown_site"),
        ({"layer": 7}, "format"),
    ],
)
def test_bad_input_leaves_nothing(config, code, exported, workspace):
    with pytest.raises(UserError) as caught:
        go("dictionary.import", out="out", **{"source": str(exported), **config})
    assert caught.value.code == code and caught.value.exit_code is ExitCode.BAD_INPUT
    assert not list(workspace.rglob("*.partial")) and not (workspace / "out").exists()


def test_a_threshold_that_was_never_estimated_is_estimated_from_a_harvest(workspace):
    one = dictionaries.load(bundled_path("dictionary"))
    tensors = {"encoder.weight": one.encoder, "encoder.bias": one.encoder_bias, "decoder.weight": one.decoder.T}
    scalars = {"b_dec": one.decoder_bias, "k": torch.tensor(16), "threshold": torch.tensor(-1.0)}
    (workspace / "source").mkdir()
    torch.save({**tensors, **scalars}, "source/ae.pt")
    trainer = {"dict_class": "BatchTopKSAE", "activation_dim": one.width, "dict_size": one.size, "k": 16}
    (workspace / "source" / "config.json").write_text(json.dumps({"trainer": trainer}))
    given = {"source": "source", "site": "resid_post.1"}
    with pytest.raises(Refusal, match="--activations") as caught:
        go("dictionary.import", out="out", **given)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    go("harvest", out="rows", model=MODEL, site=["resid_post.1"], data=["world:mixture#100"])
    for name, rows in (("stored", {"activations": "rows"}), ("own", {})):
        (found,) = go("dictionary.import", out=name, model=MODEL, **rows, **given).result.dictionaries
        assert found.activation == "jumprelu" and found.state == "checked"
        assert found.l0 == pytest.approx(16, rel=0.5 if rows else 0.01)


def test_a_crosscoder_is_checked_on_both_models(workspace):
    """The bundled dictionary twice, for a model beside itself: equal rows, so that swapping the two is no worse."""
    one = dictionaries.load(bundled_path("dictionary"))
    halves = {"E": one.encoder / 2, "D": one.decoder, "b": one.encoder_bias, "c": one.input_bias, "g": one.decoder_bias}
    doubled = {name: torch.cat([t, t], -1) if name in "EDcg" else t for name, t in halves.items()}
    (workspace / "source").mkdir()
    save_file({name: t.contiguous() for name, t in doubled.items()}, "source/w.safetensors")
    described = {
        "sites": ["reference/resid_post.1", "candidate/resid_post.1"],
        "activation": "topk",
        "constants": one.activation.constants,
        "tensors": {"encoder": "E", "decoder": "D", "encoder_bias": "b", "input_bias": "c", "decoder_bias": "g"},
    }
    (workspace / "map.yaml").write_text(json.dumps(described))
    outcome = go("dictionary.import", out="out", source="source", map="map.yaml", model=MODEL, candidate=[MODEL])
    (found,) = outcome.result.dictionaries
    assert (
        found.state == "doubtful" and found.readings["at candidate/resid_post.1 + reference/resid_post.1"] == found.fvu
    )
    metadata = dictionaries.load(outcome.path / "dictionary").metadata
    assert [m.tensors_sha256 for m in metadata.candidates] == [metadata.model.tensors_sha256]
    alone = go("dictionary.import", out="alone", source="source", map="map.yaml", model=MODEL)
    assert alone.result.dictionaries[0].state == "mismatch"


def test_an_agent_reaches_the_hub_only_where_its_server_may(workspace):
    verb = find("dictionary.import")
    config = resolve(verb, {"source": "somebody/something@v1", "from_hub": True}, environment=False)
    for offline, code in ((True, "offline"), (False, "hub_unreachable")):
        with pytest.raises(UserError) as caught:
            execute(verb, config, Settings(caller="mcp", offline=offline, workspace=Workspace.current()))
        assert caught.value.code == code


def test_two_formats_or_an_unknown_tensor_leave_nothing(exported, workspace):
    folder = workspace / "source"
    folder.mkdir()
    config = json.loads((exported / "cfg.json").read_text()) | {"surprise": True}
    (folder / "cfg.json").write_text(json.dumps(config))
    (folder / "sae_weights.safetensors").write_bytes((exported / "sae_weights.safetensors").read_bytes())
    with pytest.raises(UserError, match="surprise"):
        go("dictionary.import", out="out", source="source")
    assert not (workspace / "out").exists()


def test_a_format_that_cannot_be_written_is_bad_input(workspace):
    with pytest.raises(UserError, match="saelens"):
        go("dictionary.export", out="out", dictionary="dictionary:bundled", to="goodfire")
    assert not (workspace / "out").exists()
