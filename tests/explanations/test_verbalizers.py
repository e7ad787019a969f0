"""Vectors are written where they should be, as long as they should be, and nowhere else; side-cars are held to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from models import make
from radiograph.core import FormatError, Refusal, Site
from radiograph.explanations import verbalizer_module
from radiograph.explanations.verbalizers import nla, patchscopes, selfie
from radiograph.explanations.verbalizers._speech import Voice
from radiograph.models import load

VECTORS = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("verbalizers")
    make.folder(home / "model", max_position_embeddings=256)
    make.folder(home / "rebuilder", seed=3, max_position_embeddings=256)
    tokenizer = make.tokenizer()
    content = "say <c>@</c> in words"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer.encode(text, add_special_tokens=False)
    (token,) = tokenizer.encode("@", add_special_tokens=False)
    place = ids.index(token)
    meta = {
        "kind": "nla_model",
        "role": "av",
        "d_model": 32,
        "extraction_layer_index": 1,
        "extraction": {"injection_scale": 7.5},
        "tokens": {
            "injection_char": "@",
            "injection_token_id": token,
            "injection_left_neighbor_id": ids[place - 1],
            "injection_right_neighbor_id": ids[place + 1],
        },
        "prompt_templates": {"av": "say <c>{injection_char}</c> in words"},
    }
    (home / "model/nla_meta.yaml").write_text(yaml.safe_dump(meta))
    critic = {"kind": "nla_model", "role": "ar", "prompt_templates": {"ar": "<t>{explanation}</t>"}}
    (home / "rebuilder/nla_meta.yaml").write_text(yaml.safe_dump(critic))
    head = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    save_file({"weight": head}, home / "rebuilder/value_head.safetensors")
    return home


@pytest.fixture(scope="module")
def model(home):
    return load(str(home / "model"))


def by_hand(model, ids, places, vector, layer, norm, new):
    """Greedy text by whole forwards without a cache, the vector written by a plain hook."""
    network, ids = model.model, list(ids)
    start = len(ids)
    module = network.model.embed_tokens if layer is None else network.model.layers[layer]

    def write(_, __, output):
        value = output[0] if isinstance(output, tuple) else output
        value = value.clone()
        for place in places:
            length = norm if norm is not None else float(value[0, place].norm())
            value[0, place] = vector / vector.norm() * length
        return (value, *output[1:]) if isinstance(output, tuple) else value

    handle = module.register_forward_hook(write)
    try:
        with torch.inference_mode():
            for _ in range(new):
                token = int(network(torch.tensor([ids])).logits[0, -1].argmax())
                ids.append(token)
                if token == 1:
                    break
    finally:
        handle.remove()
    return model.tokenizer.decode([t for t in ids[start:] if t != 1], skip_special_tokens=True).strip()


@pytest.mark.parametrize(("module", "layer"), [(patchscopes, 1), (selfie, 1)])
def test_a_verbalizer_is_a_plain_hook(model, module, layer):
    speech, rebuilt = module.make(Voice(model, Site("resid_post", 1)))
    assert rebuilt is None
    speech = replace(speech, new_tokens=6)
    expected = [by_hand(model, speech.ids, speech.places, v, layer, None, speech.new_tokens) for v in VECTORS]
    assert speech.verbalize(VECTORS, 0) == expected
    assert speech.verbalize(2 * VECTORS, 0) == expected, "lengths say nothing"
    assert not any(m._forward_hooks for m in model.model.modules())


def test_prompts_hold_their_places(model):
    speech, _ = patchscopes.make(Voice(model, Site("resid_post", 1)))
    assert model.tokenizer.decode([speech.ids[n] for n in speech.places]) == "?"
    speech, _ = selfie.make(Voice(model, Site("resid_post", 2)))
    assert len(speech.places) == 5 and str(speech.at) == "resid_post.1"
    assert {model.tokenizer.decode([speech.ids[n]]) for n in speech.places} == {"_"}


def test_z_a_natural_language_autoencoder_follows_its_sidecar(home, model):
    rebuilder = load(str(home / "rebuilder"))
    voice = Voice(model, Site("resid_post", 1), model, home / "model", rebuilder, home / "rebuilder")
    speech, reader = nla.make(voice)
    assert [speech.ids[n] for n in speech.places] == model.tokenizer.encode("@", add_special_tokens=False)
    expected = [by_hand(model, speech.ids, speech.places, v, None, 7.5, 6) for v in VECTORS]
    assert replace(speech, new_tokens=6).verbalize(VECTORS, 0) == expected
    texts = ["the quick fox", "a", "the lazy dog sits down"]
    found = reader.reconstruct(texts)
    head = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    for text, row in zip(texts, found, strict=True):
        ids = rebuilder.tokenizer(f"<t>{text}</t>")["input_ids"]
        with torch.inference_mode():
            states = rebuilder.model(torch.tensor([ids]), output_hidden_states=True)
        held: dict[str, torch.Tensor] = {}
        handle = rebuilder.model.model.layers[-1].register_forward_hook(
            lambda _, __, out, held=held: held.update(x=out[0] if isinstance(out, tuple) else out)
        )
        with torch.inference_mode():
            rebuilder.model(torch.tensor([ids]))
        handle.remove()
        np.testing.assert_allclose(row, held["x"][0, -1] @ head.T, rtol=1e-4, atol=1e-4)
        assert states.logits.shape[1] == len(ids)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"role": "ar"}, "role"),
        ({"tokens": {"injection_char": "@", "injection_token_id": 5}}, "injection_left_neighbor_id"),
        ({"extraction": {"injection_scale": None}}, "injection_scale"),
        ({"prompt_templates": {"av": "no place"}}, "injection token"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(home, model, tmp_path, change, named):
    meta = yaml.safe_load((home / "model/nla_meta.yaml").read_text())
    (tmp_path / "nla_meta.yaml").write_text(yaml.safe_dump({**meta, **change}))
    with pytest.raises(FormatError) as caught:
        nla.make(Voice(model, Site("resid_post", 1), model, tmp_path))
    assert named in str(caught.value)
    with pytest.raises(FormatError, match="not a model of a natural language autoencoder"):
        nla.make(Voice(model, Site("resid_post", 1), model, tmp_path / "nowhere"))


def test_another_layer_or_width_is_refused(home, model):
    with pytest.raises(Refusal, match="another layer") as caught:
        nla.make(Voice(model, Site("resid_post", 2), model, home / "model")) if _layer(home, 0) else None
    assert caught.value.code == "dictionary_mismatch"
    _layer(home, 1)
    speech, _ = patchscopes.make(Voice(model, Site("resid_post", 1)))
    with pytest.raises(Refusal, match="another width"):
        speech.verbalize(torch.ones(2, 7), 0)


def _layer(home, number):
    path = home / "model/nla_meta.yaml"
    meta = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**meta, "extraction_layer_index": number}))
    return True


def test_a_model_that_cannot_read_the_prompt_is_refused():
    from radiograph.organisms import bundled_path

    base = load("bundled:base", resolve=bundled_path)
    for name in ("patchscopes", "selfie"):
        with pytest.raises(Refusal, match="cannot read the prompt") as caught:
            verbalizer_module(name).make(Voice(base, Site("resid_post", 1)))
        assert caught.value.code == "no_prompt" and "--verbalizer" in caught.value.fix


def test_the_verb_says_vectors_and_measures_the_round_trip(home, monkeypatch):
    from radiograph.core import ExitCode
    from radiograph.runtime import verify
    from running import go

    monkeypatch.chdir(home)
    texts = [{"prompt_id": f"p{n}", "text": f"the quick brown fox {n} jumps over the lazy dog"} for n in range(12)]
    Path("texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    asked = {"source": "units:resid_post.1#0-3", "model": "model", "data": ["texts.jsonl"], "window": 8}
    outcome = go(
        "explain features", **asked, with_="verbalizer:nla", verbalizer="model", reconstructor="rebuilder", out="said"
    )
    found = outcome.result
    assert (
        outcome.exit_code is ExitCode.PASS and found.explained + sum(e.why is not None for e in found.explanations) == 4
    )
    assert found.round_trip.n == 4 and -1 <= found.round_trip.cosine <= 1
    assert "Round trip" in Path("said/report.html").read_text() and verify(Path("said")).status == "intact"
    other = go("explain features", **asked, with_="verbalizer:patchscopes").result
    assert other.round_trip is None and other.round_trip_missing == "no reconstructor was given"
    assert other.author == "patchscopes at resid_post.1"
