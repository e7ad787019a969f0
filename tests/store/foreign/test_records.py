"""Activation records in JSON Lines: every way of writing them says the same, and every mistake has its line."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radiograph.core import FormatError, UserError
from radiograph.store import file_sha256, tree
from radiograph.store.foreign import _parse, _rows, read_records
from radiograph.store.lines import _read as lines_module
from radiograph.store.records import open_records

WRITTEN = Path(__file__).parent / "interp_lab"


def line(i, features, **more):
    return {
        "model": "m",
        "prompt_id": f"p{i}",
        "text": f"text {i}",
        "criterion_score": i % 2,
        "features": features,
    } | more


def some(n=40, size=12, seed=0):
    """Lines, and the dense values that they hold."""
    rng = np.random.default_rng(seed)
    dense = (rng.normal(size=(n, size)) * (rng.random((n, size)) < 0.3)).astype(np.float32)
    dense[:, 0] = np.arange(n) % 2
    return [line(i, {f"f{j}": float(dense[i, j]) for j in range(size) if dense[i, j]}) for i in range(n)], dense


def write(path, lines, seed=None, **dumps):
    lines = list(lines)
    if seed is not None:
        random.Random(seed).shuffle(lines)
    path.write_text("".join(json.dumps(one, **dumps) + "\n" for one in lines))
    return path


def values_of(records):
    """(prompt, token, feature id): value."""
    rows, features = records.rows.collect(), records.features
    found = {}
    for block in records.blocks():
        feature = block.first + np.repeat(np.arange(block.features), np.diff(block.offsets))
        for row, f, value in zip(block.rows.tolist(), feature.tolist(), block.values.tolist(), strict=True):
            found[rows["prompt_id"][row], rows["token"][row], features["feature_id"][f]] = value
    return found


def bytes_of(records):
    return [(p.relative_to(records.folder).as_posix(), file_sha256(p)) for p in tree(records.folder)]


def test_what_is_written_is_read(tmp_path):
    lines, dense = some()
    records = read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "cache")
    held = values_of(records)
    assert held == {(f"p{i}", -1, f"f{j}"): dense[i, j] for i, j in np.argwhere(dense)}
    header = records.header
    assert (header.absent, header.level, header.order, header.rows) == ("zero", "prompt", "feature", len(lines))
    assert header.model.ref == "m"
    rows = records.rows.collect()
    assert dict(zip(rows["prompt_id"], rows["score"], strict=True)) == {f"p{i}": i % 2 for i in range(len(lines))}
    assert rows["group_id"].to_list() == rows["prompt_id"].to_list()
    assert records.features["feature_id"].to_list() == [f"f{j}" for j in range(12)], "numbers inside ids by value"


def as_list(features, key="activation", **more):
    return [{"feature_id": name, key: value, **more} for name, value in features.items()]


@pytest.mark.parametrize(
    ("change", "dumps"),
    [
        (lambda one: one, {"separators": (",", ":")}),
        (lambda one: one, {"indent": None, "sort_keys": True}),
        (lambda one: one | {"features": as_list(one["features"])}, {}),
        (lambda one: one | {"features": as_list(one["features"], "value")}, {}),
        (lambda one: one | {"text": 'a "features": {"f0": 9} \\ text'}, {}),
        (lambda one: one | {"metadata": {"features": {"f0": 9}}}, {}),
        (lambda one: one | {"id": one["prompt_id"], "metadata": None}, {}),
    ],
)
def test_however_a_map_is_written_it_says_the_same(tmp_path, change, dumps):
    lines, dense = some()
    path = write(tmp_path / "a.jsonl", map(change, lines), **dumps)
    found = values_of(read_records(path, tmp_path / "cache"))
    assert found == {(f"p{i}", -1, f"f{j}"): dense[i, j] for i, j in np.argwhere(dense)}


@pytest.mark.parametrize("name", ["L6:D3", "a,b", "a}b", "a{b", 'a"b', "a\\b", " a ", "ü[3]", "", '": ', ', "'])
def test_an_id_may_hold_anything(tmp_path, name):
    lines = [line(0, {name: 1.5, "z": 2}), line(1, {"z": 1e-3, name: 7})]
    found = values_of(read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "cache"))
    assert found == {
        ("p0", -1, name): 1.5,
        ("p0", -1, "z"): 2,
        ("p1", -1, "z"): pytest.approx(1e-3),
        ("p1", -1, name): 7,
    }


def test_all_ways_of_reading_find_the_same(tmp_path, monkeypatch):
    lines, _ = some()
    path = write(tmp_path / "a.jsonl", lines)
    first = bytes_of(read_records(path, tmp_path / "one"))
    monkeypatch.setattr(_parse, "_as_table", lambda *_: None)
    assert bytes_of(read_records(path, tmp_path / "two")) == first
    monkeypatch.setattr(_parse, "_cut", lambda _: None)
    assert bytes_of(read_records(path, tmp_path / "three")) == first


def test_y1_zeros_omitted_written_or_half_and_half_are_the_same_bytes(tmp_path):
    lines, dense = some()
    written = [one | {"features": {f"f{j}": float(dense[i, j]) for j in range(12)}} for i, one in enumerate(lines)]
    half = [a if i % 2 else b for i, (a, b) in enumerate(zip(lines, written, strict=True))]
    folders = [
        read_records(write(tmp_path / f"{n}.jsonl", some), tmp_path / "c")
        for n, some in enumerate((lines, written, half))
    ]
    assert bytes_of(folders[0]) == bytes_of(folders[1]) == bytes_of(folders[2])
    assert len({records.folder for records in folders}) == 3


@pytest.mark.parametrize("tokens", [False, True])
def test_y6_order_chunks_and_memory_change_no_byte(tmp_path, tokens, monkeypatch):
    lines, _ = some()
    for i, one in enumerate(lines):
        one["factors"] = {"level": i % 3, "who": f"w{i % 2}"}
        if tokens:
            one |= {"prompt_id": f"p{i // 4}", "token": i % 4, "text": f"text {i // 4}"}
        elif i % 5 == 0:
            del one["prompt_id"]
            one["text"] = f"text {i % 2}"
    first = read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "cache")
    assert first.header.level == ("token" if tokens else "prompt")
    wanted = bytes_of(first)
    assert bytes_of(read_records(write(tmp_path / "b.jsonl", lines, seed=1), tmp_path / "cache")) == wanted
    monkeypatch.setattr(lines_module, "CHUNK_BYTES", 700)
    path = write(tmp_path / "c.jsonl", lines, seed=2)
    assert bytes_of(read_records(path, tmp_path / "cache")) == wanted
    small = read_records(path, tmp_path / "small", memory=1)
    # Ranges are cut by memory, so files are cut elsewhere; what they hold, in their order, is the same.
    assert small.values.collect().equals(first.values.collect())
    assert small.features.equals(first.features)
    monkeypatch.setattr(_rows, "ROWS", 7)
    parted = read_records(path, tmp_path / "parted", memory=1)
    assert parted.rows.collect().equals(first.rows.collect())
    assert len(parted.files("rows")) == -(-len(lines) // 7)
    assert list(tmp_path.rglob("*.partial")) == []


def test_factors_get_columns_of_their_kind(tmp_path):
    lines = [line(i, {"f": 1}, factors={"level": i, "who": "a", "mixed": i if i else "none"}) for i in range(3)]
    rows = read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "cache")
    table = rows.rows.collect()
    assert rows.factors == ("level", "mixed", "who")
    assert table["factor.level"].to_list() == [0, 1, 2]
    assert table["factor.mixed"].to_list() == ["none", "1", "2"]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_compressed_files_are_read(tmp_path, ending):
    lines, _ = some(5)
    plain = write(tmp_path / "a.jsonl", lines)
    path = tmp_path / f"b{ending}"
    if ending.endswith("gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    elif ending.endswith("zst"):
        path.write_bytes(stored_zstandard(plain.read_bytes()))
    else:
        path.write_bytes(plain.read_bytes())
    assert values_of(read_records(path, tmp_path / "c")) == values_of(read_records(plain, tmp_path / "d"))


def stored_zstandard(data):
    """A zstd frame of raw blocks (RFC 8878), so that the test needs no compressor."""
    out = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x58"
    blocks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    for n, block in enumerate(blocks):
        out += (len(block) << 3 | (n == len(blocks) - 1)).to_bytes(3, "little") + block
    return out


def test_a_header_says_what_absence_means(tmp_path):
    lines, _ = some(6)
    lines[0]["features"]["f3"] = 0.0
    said = {"schema": "radiograph.records/1", "model": {"ref": "m", "sha256": "1" * 64}, "dictionary_sha256": "2" * 64}
    missing = read_records(write(tmp_path / "a.jsonl", [said | {"absent": "missing"}, *lines]), tmp_path / "c")
    assert missing.header.absent == "missing"
    assert missing.header.model.sha256 == "1" * 64
    assert values_of(missing)["p0", -1, "f3"] == 0, "a zero that was measured"
    below = read_records(write(tmp_path / "b.jsonl", [said | {"absent": "below", "kept_per_row": 4}, *lines]), tmp_path)
    assert below.header.kept_per_row == 4
    for changes, text in [
        ({"absent": "below"}, "belong together"),
        ({"absent": "never"}, "does not follow"),
        ({"schema": "radiograph.records/9"}, "newer"),
        ({"level": "token"}, "level token"),
    ]:
        with pytest.raises(FormatError, match=text):
            read_records(write(tmp_path / "bad.jsonl", [said | changes, *lines]), tmp_path / "c")


def test_features_that_have_addresses_have_sites(tmp_path):
    sha = "1f3a90c2" + "0" * 56
    features = {"resid_post.2@1f3a90c2#650": 1, "mlp_hidden.1[3]": 2, "L2:D4": 3, "L1:D4": 3, "mine": 1}
    said = {"schema": "radiograph.records/1", "dictionary_sha256": sha}
    path = write(tmp_path / "a.jsonl", [said, line(0, features)])
    table = read_records(path, tmp_path / "c", n_layers=2).features
    sites = dict(zip(table["feature_id"], table["site"], strict=True))
    assert sites == {
        "resid_post.2@1f3a90c2#650": "resid_post.2",
        "mlp_hidden.1[3]": "mlp_hidden.1",
        "L1:D4": "resid_pre.1",
        "L2:D4": "final_norm",
        "mine": None,
    }
    known = dict(zip(table["feature_id"], table["dictionary_sha256"], strict=True))
    assert known["resid_post.2@1f3a90c2#650"] == sha
    assert known["mine"] is None
    unknown = read_records(path, tmp_path / "c").features
    assert unknown.filter(pl.col("feature_id") == "L2:D4")["site"].to_list() == [None], (
        "the last state has no sure name"
    )


def test_what_is_said_of_a_feature_does_not_depend_on_order(tmp_path):
    lines = [
        line(0, [{"feature_id": "a", "value": 1, "label": "second", "layer": 3}]),
        line(1, {"a": 2}, feature_metadata={"a": {"label": "first", "source": "x"}}),
    ]
    for n, order in enumerate((lines, lines[::-1])):
        table = read_records(write(tmp_path / f"{n}.jsonl", order), tmp_path / "c").features
        assert table["label"].to_list() == ["first"]
        assert json.loads(table["extra"][0]) == {"layer": 3, "source": "x"}


def test_lines_of_one_row_are_one_row(tmp_path):
    lines = [line(0, {"a": 1}), line(0, {"b": 2}, criterion_score=None), line(1, {"a": 3})]
    records = read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "c")
    assert records.header.rows == 2
    assert values_of(records) == {("p0", -1, "a"): 1, ("p0", -1, "b"): 2, ("p1", -1, "a"): 3}
    assert records.rows.collect()["score"].to_list() == [0, 1]


@pytest.mark.parametrize(
    "twice",
    [
        [line(0, {"a": 1}), line(0, {"a": 2})],
        [line(0, [{"feature_id": "a", "value": 2}, {"feature_id": "a", "value": 1}])],
        ['{"model": "m", "prompt_id": "p0", "features": {"a": 1, "a": 2}}'],
    ],
)
def test_two_values_for_one_place_are_refused_or_merged(tmp_path, twice):
    path = tmp_path / "a.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in twice))
    with pytest.raises(FormatError, match="mistake") as error:
        read_records(path, tmp_path / "c")
    assert "'a' of 'p0' has two values" in str(error.value)
    assert "--duplicates max" in str(error.value)
    assert values_of(read_records(path, tmp_path / "c", duplicates="max")) == {("p0", -1, "a"): 2}
    assert values_of(read_records(path, tmp_path / "c", duplicates="sum")) == {("p0", -1, "a"): 3}


BAD = {
    '{"model": "m", "prompt_id": "p0", "features": {"a": 1}': "a.jsonl:2: not valid JSON",
    "[1]": "a.jsonl:2: a JSON object was expected, got list",
    '{"prompt_id": "p0", "features": {"a": 1}}': "a.jsonl:2: no model",
    '{"model": 3, "prompt_id": "p0", "features": {"a": 1}}': "model must be text, got 3",
    '{"model": "m", "prompt_id": "p0"}': "a.jsonl:2: no features",
    '{"model": "m", "prompt_id": "p0", "features": 3}': "features must be a map or a list, got 3",
    '{"model": "m", "prompt_id": "p0", "features": {"a": "1.5"}}': "'a' must be a finite number (float32), got '1.5'",
    '{"model": "m", "prompt_id": "p0", "features": {"a": null}}': "'a' must be a finite number (float32), got None",
    '{"model": "m", "prompt_id": "p0", "features": {"a": true}}': "'a' must be a finite number (float32), got True",
    '{"model": "m", "prompt_id": "p0", "features": {"a": NaN}}': "NaN and Infinity are no JSON numbers",
    '{"model": "m", "prompt_id": "p0", "features": {"a": -Infinity}}': "NaN and Infinity are no JSON numbers",
    '{"model": "m", "prompt_id": "p0", "features": {"a": 1e39}}': "'a' must be a finite number (float32), got 1e+39",
    '{"model": "m", "prompt_id": "p0", "features": {"a": {"b": 1}}}': "'a' must be a finite number",
    '{"model": "m", "prompt_id": "p0", "features": [{"value": 1}]}': "features[0] must be an object with feature_id",
    '{"model": "m", "prompt_id": "p0", "features": [{"feature_id": "a"}]}': "neither activation nor value",
    '{"model": "m", "prompt_id": "p0", "features": {"a{": 1, "a{": 2}}': "key 'a{' stands twice",
    '{"model": "m", "prompt_id": "p0", "criterion_score": "high", "features": {"a": 1}}': "criterion_score must be",
    '{"model": "m", "prompt_id": "p0", "kind": "near-miss", "features": {"a": 1}}': "did you mean near_miss",
    '{"model": "m", "prompt_id": "p0", "label": 2, "features": {"a": 1}}': "label must be true, false, 1 or 0, got 2",
    '{"model": "m", "prompt_id": "p0", "label": true, "criterion_score": 0, "features": {"a": 1}}': (
        "a.jsonl:2: label True contradicts criterion_score 0"
    ),
    '{"model": "m", "prompt_id": "p0", "split": "confrim", "features": {"a": 1}}': "a.jsonl:2: unknown split 'confrim'",
    '{"model": "m", "prompt_id": "p0", "split": "train", "features": {"a": 1}}': "did you mean discover or confirm",
    '{"model": "m", "prompt_id": "p0", "token": 3, "features": {"a": 1}}': "a row without token among rows of tokens",
    '{"model": "m", "token": 3, "features": {"a": 1}}': "needs the prompt_id",
    '{"model": "m", "prompt_id": "p9", "text": "other", "features": {"b": 1}}': "has two texts, on lines 1 and 2",
    '{"model": "m", "prompt_id": "p9", "criterion_score": 0, "features": {"b": 1}}': "has two scores, on lines 1 and 2",
    '{"model": "m", "prompt_id": "p0", "feature_metadata": [1], "features": {"a": 1}}': "must be a map",
}


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_bad_lines_are_named_and_nothing_is_written(tmp_path, bad):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(line(9, {"a": 1})) + f"\n{bad}\n")
    with pytest.raises(FormatError) as error:
        read_records(path, tmp_path / "cache")
    assert BAD[bad] in str(error.value)
    assert error.value.exit_code == 3
    assert list((tmp_path / "cache").rglob("*.json")) == []
    assert list((tmp_path / "cache").rglob("*.partial")) == []


@pytest.mark.parametrize("absent", ["zero", "missing"])
def test_values_that_float32_cannot_hold_are_counted(tmp_path, absent):
    rows = [line(0, {"a": 1e-46, "b": 1.0}), line(1, {"a": -1e-60, "b": 0.0}), line(2, {"b": 1e-50, "a": 1e-44})]
    path = write(tmp_path / "a.jsonl", [{"schema": "radiograph.records/1", "absent": absent}, *rows])
    records = read_records(path, tmp_path / "cache")
    assert records.header.vanished == {"a": 2, "b": 1}
    assert records.header.said_of("a.jsonl") == [
        "3 values of a.jsonl are zero in float32 and count as silence, of a, b"
    ]
    assert sum(value != 0 for value in values_of(records).values()) == 2
    again = read_records(write(tmp_path / "b.jsonl", [line(0, {"a": 1.0})]), tmp_path / "cache")
    assert again.header.vanished == {} and again.header.said_of("b.jsonl") == []


def test_features_inside_of_something_else_are_none_of_the_row(tmp_path):
    lines, _ = some(6)
    lines[3]["metadata"] = {"features": lines[3].pop("features")}
    with pytest.raises(FormatError, match="1 mistake") as caught:
        read_records(write(tmp_path / "r.jsonl", lines), tmp_path)
    assert "r.jsonl:4: no features" in str(caught.value)


def test_the_first_five_mistakes_are_shown_and_the_others_counted(tmp_path):
    lines, _ = some()
    for n in (3, 7, 8, 20, 21, 30, 39):
        lines[n]["model"] = None
    with pytest.raises(FormatError, match="7 mistakes in a") as error:
        read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "c")
    shown = str(error.value)
    assert [f"a.jsonl:{n}:" in shown for n in (4, 8, 9, 21, 22, 31, 40)] == [True] * 5 + [False] * 2
    assert "and 2 more" in shown


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(json.dumps(line(0, {"a": 1})).encode() + b'\n{"model": "m\xff"}\n')
    with pytest.raises(FormatError) as error:
        read_records(tmp_path / "a.jsonl", tmp_path / "c")
    assert "a.jsonl:2: not UTF-8" in str(error.value)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, ending):
    lines, _ = some(400)
    plain = write(tmp_path / "a.jsonl", lines).read_bytes()
    data = gzip.compress(plain) if ending == ".gz" else stored_zstandard(plain)
    (tmp_path / f"a.jsonl{ending}").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        read_records(tmp_path / f"a.jsonl{ending}", tmp_path / "c")


def test_models_are_named_where_the_wanted_one_is_absent(tmp_path):
    lines = [line(0, {"a": 1}, model="base-a"), line(1, {"a": 1}, model="base-b")]
    path = write(tmp_path / "a.jsonl", lines)
    with pytest.raises(UserError, match="several models") as error:
        read_records(path, tmp_path / "c")
    assert "base-a, base-b" in str(error.value)
    with pytest.raises(UserError, match="no records of 'base_a'") as error:
        read_records(path, tmp_path / "c", model="base_a")
    assert "did you mean base-a" in str(error.value)
    assert values_of(read_records(path, tmp_path / "c", model="base-b")) == {("p1", -1, "a"): 1}
    folder = read_records(path, tmp_path / "c", model="base-b").folder
    with pytest.raises(UserError, match="no records of 'x'"):
        read_records(folder, tmp_path / "c", model="x")
    assert read_records(folder, tmp_path / "c", model="base-b").folder == folder


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_refused(tmp_path, content):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(FormatError, match="holds no records"):
        read_records(tmp_path / "a.jsonl", tmp_path / "c")
    with pytest.raises(UserError, match="not a file"):
        read_records(tmp_path / "b.jsonl", tmp_path / "c")
    with pytest.raises(UserError, match="no feature fires"):
        read_records(write(tmp_path / "c.jsonl", [line(0, {"a": 0})]), tmp_path / "c")


def test_a_file_is_turned_once(tmp_path, monkeypatch):
    lines, _ = some()
    path = write(tmp_path / "a.jsonl", lines)
    first = read_records(path, tmp_path / "c")
    monkeypatch.setattr("radiograph.store.foreign._records._turn", lambda *_: pytest.fail("turned again"))
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_bytes(path.read_bytes())
    assert read_records(copy, tmp_path / "c").folder == first.folder
    assert open_records(first.folder, verify=True).header == first.header
    monkeypatch.undo()
    assert read_records(path, tmp_path / "c", duplicates="max").folder != first.folder


def test_no_path_of_the_machine_is_stored(tmp_path):
    lines, _ = some(4)
    folder = read_records(write(tmp_path / "a.jsonl", lines), tmp_path / "c").folder
    for path in tree(folder):
        assert str(tmp_path).encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["hf_records", "group_records", "sae_records", "contrast_records"])
def test_files_that_interp_lab_wrote_are_read_as_they_are(tmp_path, name):
    path = WRITTEN / f"{name}.jsonl"
    raw = [json.loads(one) for one in path.read_text().splitlines()]
    records = read_records(path, tmp_path / "c", model="tiny", n_layers=2)
    wanted = {
        (one["prompt_id"], -1, item["feature_id"]): pytest.approx(item["activation"], rel=1e-6)
        for one in raw
        for item in one["features"]
        if item["activation"]
    }
    assert values_of(records) == wanted
    rows = records.rows.collect()
    assert dict(zip(rows["prompt_id"], rows["text"], strict=True)) == {one["prompt_id"]: one["text"] for one in raw}
    assert dict(zip(rows["prompt_id"], rows["score"], strict=True)) == {
        one["prompt_id"]: one["criterion_score"] for one in raw
    }
    assert records.header.preselected == (name in ("hf_records", "group_records")), "chosen with all labels in hand"
    assert records.features["label"].null_count() == 0
    if name == "hf_records":
        assert set(records.header.sites) == {"resid_pre.1", "final_norm"}
