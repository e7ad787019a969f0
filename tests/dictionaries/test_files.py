"""What is saved comes back bit for bit; what is not ours, or not whole, is named and refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from radiograph.core import FormatError, UserError
from radiograph.dictionaries import Metadata, ModelIdentity, Quality, Training, load, save

from .make import random_dictionary

METADATA = Metadata(
    model=ModelIdentity(reference="bundled:base", tensors_sha256="a" * 64),
    tokenizer_sha256="b" * 64,
    bos="skip",
    training=Training(
        preset="minimal", seed=0, rows=1000, steps=10, batch=100, learning_rate=1e-3, scales=(2.5,), activation="topk"
    ),
    quality=Quality(n_rows=500, fvu=0.25, l0=5, dead=1, dense=2, variance=10.0),
    source="here",
    licence="Apache-2.0",
    check="native",
)


@pytest.mark.parametrize("name", ["relu", "topk", "jumprelu"])
def test_save_and_load_are_inverse(name, tmp_path):
    d = random_dictionary(name, metadata=METADATA)
    save(d, tmp_path / "d")
    back = load(tmp_path / "d")
    assert back.hash == d.hash
    assert back.metadata == METADATA
    assert back.activation == d.activation
    assert all(torch.equal(back.tensors[n], t) for n, t in d.tensors.items())
    assert d.hash in (tmp_path / "d" / "card.md").read_text()


def test_equal_dictionaries_give_equal_bytes_under_any_name(tmp_path):
    for name in ("one", "resid_post.9-other-model"):
        save(random_dictionary("jumprelu", metadata=METADATA), tmp_path / name)
    for file in ("dictionary.safetensors", "dictionary.json", "card.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "resid_post.9-other-model" / file).read_bytes()


def test_no_absolute_path_is_kept():
    assert ModelIdentity(reference="/home/somebody/models/base").reference == "base"
    assert ModelIdentity(reference="bundled:base+adapter").reference == "bundled:base+adapter"


def test_nothing_is_overwritten_and_nothing_half_is_left(tmp_path):
    save(random_dictionary(), tmp_path / "d")
    with pytest.raises(UserError, match="new folder"):
        save(random_dictionary(), tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


@pytest.fixture
def saved(tmp_path):
    save(random_dictionary("jumprelu", metadata=METADATA), tmp_path / "d")
    return tmp_path / "d"


def edit(folder, **changes):
    path = folder / "dictionary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder, change):
    tensors = load_file(folder / "dictionary.safetensors")
    change(tensors)
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "dictionary.safetensors")


@pytest.mark.parametrize(
    ("match", "changes"),
    [
        ("schema|document", {"schema": "radiograph.bundle/1"}),
        ("newer", {"schema": "radiograph.dictionary/2"}),
        ("extra_key", {"extra_key": 1}),
        ("kind", {"kind": "transcoder"}),
        ("normalisation", {"normalisation": "batch_norm"}),
        ("sha256", {"normalisation": "layer_norm"}),
        ("sha256", {"selection": "decoder_norm"}),
        ("width", {"widths": [13]}),
        ("width", {"target_width": 13}),
        ("sha256", {"sites": ["resid_post.2"]}),
        ("sha256", {"sha256": "0" * 64}),
        ("decoder_sha256", {"decoder_sha256": "0" * 64}),
        ("threshold", {"activation": {"name": "relu"}}),
        ("unknown activation", {"activation": {"name": "tanh"}}),
        ("constants", {"activation": {"name": "jumprelu", "k": 3}}),
    ],
)
def test_a_document_that_is_not_that_of_the_tensors_is_refused(saved, match, changes):
    edit(saved, **changes)
    with pytest.raises(UserError, match=match):
        load(saved)


@pytest.mark.parametrize(
    ("match", "change"),
    [
        ("unknown tensor log_threshold", lambda t: t.update(log_threshold=torch.ones(48))),
        ("missing tensor threshold", lambda t: t.pop("threshold")),
        ("negative", lambda t: t["threshold"].neg_()),
        ("not finite", lambda t: t["encoder"][2].fill_(float("inf"))),
        ("shape of decoder", lambda t: t.update(decoder=t["decoder"].T)),
        ("type of encoder_bias", lambda t: t.update(encoder_bias=t["encoder_bias"].half())),
        ("sha256", lambda t: t.update(decoder=t["decoder"].roll(1, 0))),
    ],
)
def test_tensors_that_are_not_those_of_the_document_are_refused(saved, match, change):
    rewrite(saved, change)
    with pytest.raises(UserError, match=match):
        load(saved)


def test_damaged_and_missing_files_are_named(saved, tmp_path):
    data = (saved / "dictionary.safetensors").read_bytes()
    (saved / "dictionary.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="not a safetensors file"):
        load(saved)
    torch.save({"a": 1}, saved / "dictionary.safetensors")
    with pytest.raises(FormatError, match="not a safetensors file"):
        load(saved)
    (saved / "dictionary.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        load(saved)
    shutil.rmtree(saved)
    with pytest.raises(UserError, match="no dictionary in"):
        load(saved)
