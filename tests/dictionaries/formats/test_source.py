"""Nothing in a foreign file runs, leads elsewhere, or is passed over in silence."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dictionaries.make import random_dictionary
from radiograph.core import FormatError, UserError
from radiograph.dictionaries import save
from radiograph.dictionaries.formats import Ledger, Source, detect, formats, import_source, named
from radiograph.dictionaries.formats import _find as find


class Runs:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin"])
def test_a_pickle_that_would_run_code_does_not(suffix, tmp_path):
    marker = tmp_path / "ran"
    folder = tmp_path / "source"
    folder.mkdir()
    torch.save({"encoder": Runs(marker)}, folder / f"ae.{suffix}")
    with pytest.raises(FormatError, match="mkdir"):
        Source.open(folder).tensors(f"ae.{suffix}")
    with pytest.raises(FormatError, match="mkdir"):
        list(import_source(Source.open(folder)))
    assert not marker.exists()


def test_a_bare_pickle_that_would_run_code_does_not(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "ae.pt").write_bytes(pickle.dumps({"encoder": Runs(marker)}))
    with pytest.raises(FormatError):
        Source.open(tmp_path / "ae.pt").tensors("ae.pt")
    assert not marker.exists()


def test_an_npz_with_objects_names_the_tensor(tmp_path):
    marker = tmp_path / "ran"
    np.savez(tmp_path / "params.npz", good=np.ones(2), W_enc=np.array([Runs(marker)], dtype=object))
    ledger = Source.open(tmp_path).tensors("params.npz")
    assert torch.equal(ledger.tensor("good"), torch.ones(2, dtype=torch.float64))
    with pytest.raises(FormatError, match="W_enc"):
        ledger.tensor("W_enc")
    assert not marker.exists()


def test_yaml_that_names_a_python_type_is_refused(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "config.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{marker}']\n")
    with pytest.raises(FormatError):
        Source.open(tmp_path).document("config.yaml")
    assert not marker.exists()


def test_an_archive_that_states_more_than_it_can_hold_is_not_opened(tmp_path):
    with zipfile.ZipFile(tmp_path / "params.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", b"\0" * (64 * 2**20))
    with pytest.raises(FormatError, match="more bytes"):
        Source.open(tmp_path).tensors("params.npz")


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pt", "w.json", "w.yaml"])
def test_files_that_are_not_what_their_name_says_are_format_errors(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x93 not a file of this kind: [")
    source = Source.open(tmp_path)
    with pytest.raises(FormatError):
        source.tensors(name) if name.split(".")[1] in ("safetensors", "npz", "pt") else source.document(name)


def test_documents_have_a_size_limit_and_no_infinities(tmp_path):
    (tmp_path / "big.json").write_text(json.dumps({"a": "x" * 200}))
    (tmp_path / "inf.json").write_text('{"a": Infinity}')
    (tmp_path / "list.json").write_text("[1]")
    source = Source.open(tmp_path)
    with pytest.raises(FormatError, match="larger"):
        source.document("big.json", limit=100)
    for name in ("inf.json", "list.json"):
        with pytest.raises(FormatError):
            source.document(name)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "secret.safetensors")
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "w.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(FormatError, match="link"):
        Source.open(folder).tensors("w.safetensors")
    assert Source.open(folder).keys("w.safetensors") == frozenset()


def test_links_inside_a_hub_cache_are(tmp_path):
    repository = tmp_path / "models--a--b"
    (repository / "blobs").mkdir(parents=True)
    save_file({"a": torch.ones(1)}, repository / "blobs" / "0f")
    place = repository / "snapshots" / "c0ffee" / "layer_0"
    place.mkdir(parents=True)
    (place / "w.safetensors").symlink_to(repository / "blobs" / "0f")
    assert Source.open(place).keys("w.safetensors") == {"a"}


def test_every_format_says_what_it_is():
    for name, module in formats().items():
        assert name == module.NAME and module.__doc__ and module.read.__doc__
    with pytest.raises(UserError, match="saelens"):
        named("saelnes")


def test_two_formats_that_fit_are_both_named(tmp_path, monkeypatch):
    class Other:
        NAME = "other"

        @staticmethod
        def detect(source):
            return True

    class Another(Other):
        NAME = "another"

    known = {"another": Another, "other": Other}
    monkeypatch.setattr(find, "formats", lambda: known)
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="another and other") as caught:
        detect(Source.open(tmp_path))
    assert caught.value.code == "ambiguous_format" and "--format" in str(caught.value)


def test_a_dictionary_of_ours_needs_no_import(tmp_path):
    save(random_dictionary(), tmp_path / "ours")
    with pytest.raises(UserError, match="ours already"):
        detect(Source.open(tmp_path / "ours"))


def test_no_format_lists_what_was_found(tmp_path):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(FormatError, match=r"readme\.txt"):
        detect(Source.open(tmp_path))
    with pytest.raises(UserError):
        Source.open(tmp_path / "nowhere")


def test_a_ledger_wants_every_name_taken():
    ledger = Ledger({"a": torch.ones(2), "b": 3, "c": {"d": 1}, "train_lr": 0.1}, "file")
    assert ledger.integer("b") == 3
    assert ledger.tensor("a", (2,)).shape == (2,)
    ledger.ignore("train_*")
    part = ledger.part("c")
    with pytest.raises(FormatError, match="unknown d"):
        ledger.close()
    assert part.take("d") == 1
    ledger.close()
    with pytest.raises(FormatError, match="shape of a"):
        ledger.tensor("a", (3,))
    with pytest.raises(FormatError, match="'aa' is missing"):
        ledger.take("aa")
    with pytest.raises(FormatError, match="not supported"):
        ledger.expect("b", 4)
