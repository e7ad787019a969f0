"""Files of directions: the header says what they are, and another model refuses them."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from radiograph.core import FormatError, Refusal, UserError
from radiograph.store.directions import (
    DirectionsHeader,
    MatrixRecord,
    open_directions,
    read_directions_header,
    write_directions,
)

UNITS = np.eye(5, 4, dtype=np.float32)
UNITS[4, 0] = 1


def header(**changes):
    fields = {
        "tensors": {
            "units": MatrixRecord(site="resid_post.2"),
            "decoder": MatrixRecord(site="mlp_out.1", names=tuple("abcde")),
        },
        "model_sha256": "1" * 64,
        "tokenizer_sha256": "2" * 64,
        "scale": "unit_norm",
        "provenance": {"method": "mean_difference", "records_sha256": "3" * 64},
        "grade": "validated",
        "doses": (-1.0, 1.0),
        "dose_unit": "sd",
    }
    return DirectionsHeader(**(fields | changes))


def written(path, **changes):
    return write_directions(path, header(**changes), {"units": UNITS[0], "decoder": UNITS})


def test_what_is_written_is_read_and_others_can_read_it(tmp_path):
    path = tmp_path / "d.safetensors"
    sha = written(path)
    found, tensors = open_directions(path, model_sha256="1" * 64, tokenizer_sha256="2" * 64)
    assert found == read_directions_header(path) == header()
    assert np.array_equal(tensors["decoder"], UNITS)
    assert np.array_equal(load_file(path)["units"], UNITS[0])
    assert list(open_directions(path, "units")[1]) == ["units"]
    assert written(tmp_path / "e.safetensors") == sha, "equal content, equal bytes"


def test_the_header_alone_is_read(tmp_path):
    path = tmp_path / "d.safetensors"
    written(path)
    size = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    path.write_bytes(path.read_bytes()[:size])
    assert read_directions_header(path) == header()
    with pytest.raises(FormatError, match="no file of directions"):
        open_directions(path)


@pytest.mark.parametrize("what", ["model", "tokenizer"])
def test_another_model_refuses_them(tmp_path, what):
    path = tmp_path / "d.safetensors"
    written(path)
    with pytest.raises(Refusal, match=f"directions of another {what}") as error:
        open_directions(path, **{f"{what}_sha256": "9" * 64})
    assert (error.value.code, error.value.exit_code) == ("dictionary_mismatch", 3)


@pytest.mark.parametrize(
    ("changes", "tensors", "text"),
    [
        ({}, {"units": UNITS[0]}, "name different directions"),
        ({}, {"units": UNITS[0] * 2, "decoder": UNITS}, "length 2 in row 0"),
        ({"scale": "raw"}, {"units": UNITS[0] * 0, "decoder": UNITS}, "length 0 in row 0"),
        ({"scale": "raw"}, {"units": UNITS[0] * np.nan, "decoder": UNITS}, "length nan in row 0"),
        ({}, {"units": UNITS[0], "decoder": UNITS[:3]}, "5 rows"),
        ({}, {"units": UNITS[None], "decoder": UNITS[None]}, r"\(1, 5, 4\)"),
        ({"tensors": {"units": MatrixRecord(site="resid.2")}}, {"units": UNITS[0]}, "unknown site"),
    ],
)
def test_what_is_no_direction_is_refused(tmp_path, changes, tensors, text):
    with pytest.raises(UserError) as error:
        write_directions(tmp_path / "d.safetensors", header(**changes), tensors)
    assert text.replace("\\", "") in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    with pytest.raises(UserError, match="not a file"):
        read_directions_header(path)
    for data in (b"", b"\xff" * 40, (10).to_bytes(8, "little") + b"not json  "):
        path.write_bytes(data)
        with pytest.raises(FormatError, match="no file of directions"):
            read_directions_header(path)
    save_file({"units": UNITS}, path)
    with pytest.raises(FormatError, match="no file of directions"):
        read_directions_header(path)
    document = header().model_dump(mode="json") | {"schema": "radiograph.directions/2"}
    save_file({"units": UNITS}, path, metadata={"radiograph": json.dumps(document)})
    with pytest.raises(FormatError, match="newer"):
        read_directions_header(path)
    written(path)
    with pytest.raises(UserError, match="no direction 'unit'") as error:
        open_directions(path, "unit")
    assert "did you mean units" in str(error.value)
