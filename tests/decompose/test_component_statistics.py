"""Harvest of components against a plain recount, and the same bytes however shards are divided."""

import numpy as np
import polars as pl
import pytest

from decompose.planted import base, saved, tokens_of
from radiograph import decompose
from radiograph.core import FormatError, UserError
from radiograph.decompose.statistics import Engine, Merged, Spec, Sums, Texts, part_of
from radiograph.models.masked import of_model
from radiograph.runtime import verify
from radiograph.store.components import open_statistics
from running import contents, go

WORDS = ["the", "to", "is", "did", "saw"]
CONFIG = {"model": "bundled:base", "data": ["world:story#30"], "examples": 12, "around": 5, "record_tokens": 300}


@pytest.fixture(scope="module")
def model():
    return base()


@pytest.fixture(scope="module")
def home(model, tmp_path_factory):
    """A workspace with a planted decomposition and its harvest."""
    home = tmp_path_factory.mktemp("harvested")
    saved(model, tokens_of(model, WORDS), home / "planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        outcome = go("decompose.harvest", decomposition="planted", shard_tokens=50, out="run", **CONFIG)
    assert outcome.exit_code == 0
    return home


@pytest.fixture(scope="module")
def run(home):
    return home / "run"


@pytest.fixture(scope="module")
def stored(run):
    return open_statistics(run)


@pytest.fixture(scope="module")
def plain(home, model, stored):
    """Every counted position, one text at a time: importance, tokens, next-token probabilities."""
    import torch

    from radiograph.organisms.world import parse_source

    made = decompose.load(home / "planted")
    target = of_model(model)
    rows = []
    for document in parse_source("world:story#30").documents(0):
        text = document.text
        ids = model.tokenizer(text)["input_ids"]
        ids = ids[1:] if ids[:2] == [model.tokenizer.bos_token_id] * 2 else ids  # these texts bring their own
        seen = made.observe(target, torch.tensor([ids]))
        special = set(model.tokenizer.all_special_ids)
        keep = [n for n, token in enumerate(ids) if token not in special]
        importance = torch.cat([v[0] for v in seen.lower.values()], -1).numpy()
        h = torch.cat([v[0] for v in seen.h.values()], -1).numpy()
        chances = seen.output[0].softmax(-1).numpy()
        rows.append((np.array(ids)[keep], importance[keep], h[keep], chances[keep], len(ids)))
    joined = [np.concatenate([row[n] for row in rows]) for n in range(4)]
    return (*joined, sum(row[4] for row in rows))


def test_d10_10_counts_equal_a_plain_recount(stored, plain):
    ids, importance, h, chances, fed = plain
    fires = importance > 1e-6
    assert stored.result.tokens == len(ids) and stored.result.tokens_fed == fed
    assert stored.result.tokens_excluded == fed - len(ids) > 0
    table = stored.summary
    assert table["firings"].to_list() == fires.sum(axis=0).tolist()
    assert np.allclose(table["importance"], importance.sum(axis=0), atol=1e-4)
    assert np.allclose(table["h"], h.sum(axis=0), rtol=1e-4, atol=1e-3)
    both = fires.T.astype(int) @ fires
    for number in range(stored.size):
        other, count = stored.cofire(number)
        expected = {j: both[number, j] for j in range(stored.size) if j != number and both[number, j]}
        assert dict(zip(other.tolist(), count.tolist(), strict=True)) == expected
        inputs = stored.inputs(number)
        assert inputs.count.tolist() == np.bincount(ids[fires[:, number]], minlength=len(inputs.count)).tolist()
        outputs = stored.outputs(number)
        mass = chances[fires[:, number]].sum(axis=0)
        assert np.allclose(outputs.count, mass[outputs.tokens], rtol=1e-3, atol=1e-5)


def test_d10_10_ratios_are_those_of_the_raw_counts(stored, plain):
    ids, importance, *_ = plain
    fires = importance > 1e-6
    number = stored.number("up.1:0")
    own = fires[:, number]
    found = stored.inputs(number).ratios
    token = int(np.bincount(ids[own]).argmax())
    on = ids == token
    assert found.precision[token] == pytest.approx(on[own].mean())
    assert found.recall[token] == pytest.approx(own[on].mean())
    assert found.pmi[token] == pytest.approx(np.log((on & own).mean() / (on.mean() * own.mean())))
    other, _, ratios = stored.cofire_ratios(number)
    partner = fires[:, other[0]]
    assert ratios.jaccard[0] == pytest.approx((own & partner).sum() / (own | partner).sum())


def test_a_planted_detector_fires_on_its_token_alone(stored, model):
    for n, token in enumerate(tokens_of(model, WORDS)):
        counts = stored.inputs(n)
        if not stored.summary["firings"][n]:
            continue
        assert np.flatnonzero(counts.count).tolist() == [token]
        assert counts.ratios.precision[token] == counts.ratios.recall[token] == 1
        assert counts.top.tolist() == [token] * int(counts.count[token] >= 5)


def test_dd_10_examples_hold_no_padding_and_mark_their_centre(stored, model):
    for n, token in enumerate(tokens_of(model, WORDS)):
        found = stored.examples(n)
        assert len(found) == min(12, int(stored.summary["firings"][n]))
        for tokens, centre, fires, importance in zip(
            found.tokens, found.centres, found.fires, found.importance, strict=True
        ):
            assert tokens[centre] == token and fires[centre] and importance[centre] > 0.9
            assert fires.tolist() == (tokens == token).tolist() and len(tokens) <= 11
            assert tokens.min() >= 0 and model.tokenizer.bos_token_id not in tokens


def test_records_say_where_a_component_is_silent(stored, run, plain):
    from radiograph.explanations import material_of
    from radiograph.store.records import open_records

    records = open_records(run)
    assert 0 < records.header.rows <= 300 and records.header.rows == stored.result.recorded
    material = material_of(records)
    assert material.ids[:2] == ("embed:0", "embed:1")
    pieces = [material.passages.pieces[n] for n in material.passages.tokens[material.fires[0].indices]]
    assert pieces and set(pieces) == {" the"}
    assert sum(p == " the" for p in (material.passages.pieces[n] for n in material.passages.tokens)) == len(pieces)


def test_the_run_is_intact_and_its_totals_are_derived_again(run, tmp_path):
    import shutil

    assert verify(run).status == "intact"
    copy = shutil.copytree(run, tmp_path / run.name)
    table = pl.read_parquet(copy / "tables" / "components.parquet")
    table.with_columns(firings=pl.col("firings") + 1).write_parquet(copy / "tables" / "components.parquet")
    from radiograph.methods.decompose.harvest import recompute
    from radiograph.store import Bundle

    assert len(recompute(Bundle(copy).result, copy)) >= 4


def test_d10_10_shards_and_batches_show_in_no_count(home, run, monkeypatch):
    monkeypatch.chdir(home)
    outcome = go(
        "decompose.harvest", decomposition="planted", shard_tokens=100_000, batch_tokens=64, out="other", **CONFIG
    )
    one, other = open_statistics(run), open_statistics(outcome.path)
    assert (one.result.shards > 7, other.result.shards) == (True, 1)
    for name in ("tokens_in", "cofire"):
        assert (run / "tables" / f"{name}.parquet").read_bytes() == (
            outcome.path / "tables" / f"{name}.parquet"
        ).read_bytes()
    assert one.summary["firings"].equals(other.summary["firings"])
    assert one.examples(3).positions == other.examples(3).positions


@pytest.fixture(scope="module")
def shards(home, model, tmp_path_factory):
    """The shards of a harvest, each counted once."""
    made, target = decompose.load(home / "planted"), of_model(model)
    rng = np.random.default_rng(0)
    words = rng.integers(10, target.model.vocab_size, 600).astype(np.uint32)
    lengths = np.full(40, 15, np.int64)
    texts = Texts(
        tokens=words,
        counted=np.ones(600, bool),
        starts=np.arange(40) * 15,
        lengths=lengths,
        documents=tuple(f"d{n}" for n in range(40)),
        groups=tuple(f"d{n}" for n in range(40)),
        parts=np.zeros(40, np.int64),
        recorded=np.zeros(40, bool),
    )
    folder = tmp_path_factory.mktemp("parts")
    facts = {"fires": 1e-6, "seed": 0, "examples": 4, "around": 3, "shard_tokens": 45, "batch_tokens": 64}
    engine = Engine(target, made, Spec("", "", folder, tuple(facts.items()), "spec"), texts)
    found = []
    for number in range(len(engine.bounds) - 1):
        found.append(engine.shard(number))
        found[-1].save(folder / f"{number}.npz", "spec")
    return found, folder


def _added(shards, numbers, folder):
    """The sum of some shards, in this order."""
    sums = shards[0][0]
    total = Sums.empty(len(sums.firings), len(sums.token_count), 3)
    for number in numbers:
        total.take(folder / f"{number}.npz", 4)
    return total


def _bytes(sums, folder):
    sums.save(folder / "found.npz", "spec")
    return (folder / "found.npz").read_bytes()


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_d10_10_one_two_or_seven_workers_in_any_order_give_the_same_bytes(shards, workers, tmp_path):
    count, folder = len(shards[0]), shards[1]
    whole = _added(shards, range(count), folder)
    order = np.random.default_rng(workers).permutation(count)
    for number, own in enumerate(np.array_split(order, workers)):
        _added(shards, own, folder).save(tmp_path / f"{number}.npz", "spec")
    total = _added(shards, range(workers), tmp_path)
    assert _bytes(total, tmp_path) == _bytes(whole, tmp_path)
    loaded = Sums.load(tmp_path / "found.npz")
    assert _bytes(loaded, tmp_path) == _bytes(whole, tmp_path)


def test_a_shard_that_was_added_before_a_kill_is_not_added_again(shards, tmp_path):
    shards, folder = shards

    def empty():
        return _added((shards, folder), (), folder)

    def merged():
        return Merged(tmp_path, "spec", empty, Sums.load, lambda total, path: total.take(path, 4))

    for number, shard in enumerate(shards[:8]):
        shard.save(part_of(tmp_path, number), "spec")
    first = merged()
    first.fold()
    assert not list(tmp_path.glob("0*.npz")) and first.committed == set(range(8))
    shards[3].save(part_of(tmp_path, 3), "spec")  # killed between the total and the part's removal
    for number in range(8, len(shards)):
        shards[number].save(part_of(tmp_path, number), "spec")
    (tmp_path / "00099.npz.x.partial").write_bytes(b"half")
    again = merged()
    assert again.committed == set(range(len(shards)))
    again.fold(last=True)
    whole = _added((shards, folder), range(len(shards)), folder)
    assert _bytes(again.total, tmp_path) == _bytes(whole, tmp_path)
    with pytest.raises(FormatError, match="another run"):
        Merged(tmp_path, "other", empty, Sums.load, lambda total, path: total.take(path, 4)).fold(last=True)


def test_a_damaged_part_or_plan_of_an_unfinished_run_is_named(shards, tmp_path):
    from radiograph.decompose.statistics import begin

    parts, folder = shards
    whole = (folder / "0.npz").read_bytes()
    empty = Sums.empty(len(parts[0].firings), len(parts[0].token_count), 3)
    for damaged in (
        b"",
        b"not an archive",
        whole[: len(whole) // 2],
        whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
    ):
        (tmp_path / "00000.npz").write_bytes(damaged)
        with pytest.raises(FormatError, match=r"00000\.npz"):
            empty.take(tmp_path / "00000.npz", 4)
    (tmp_path / "facts.json").write_text('{"seed": ')
    with pytest.raises(FormatError, match=r"facts\.json"):
        begin(tmp_path, {"seed": 0})


def test_what_fires_nowhere_is_no_result(home, model, monkeypatch):
    monkeypatch.chdir(home)
    outcome = go("decompose.harvest", decomposition="planted", fires=0.9999999, out="none", **CONFIG)
    assert outcome.exit_code in (0, 4)
    assert (outcome.exit_code == 4) == (outcome.result.alive == 0)


def test_bad_input_names_what_is_wrong(home, run, stored, monkeypatch, tmp_path):
    monkeypatch.chdir(home)
    before = contents(home)
    with pytest.raises(UserError, match="needs --data"):
        go("decompose.harvest", decomposition="planted", model="bundled:base")
    with pytest.raises(UserError) as problem:
        stored.number("embed:5")
    assert problem.value.code == "unknown_component" and "embed:4" in str(problem.value)
    with pytest.raises(UserError, match=r"down\.2 is not decomposed"):
        stored.number("down.2:0")
    with pytest.raises(FormatError, match="not a bundle"):
        open_statistics(home / "planted")
    assert contents(home) == before


def test_dd_16_a_run_that_is_not_complete_is_not_read(run, tmp_path):
    import shutil

    half = shutil.copytree(run, tmp_path / (run.name + ".partial"))
    with pytest.raises(UserError, match="unfinished"):
        open_statistics(half)
    unsealed = shutil.copytree(run, tmp_path / run.name)
    (unsealed / "manifest.sha256").unlink()
    with pytest.raises(UserError, match="not sealed"):
        open_statistics(unsealed)


def test_a_decomposition_of_another_model_is_refused_by_both_names(home, monkeypatch, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    from radiograph.core import Refusal
    from radiograph.organisms import bundled_path

    monkeypatch.chdir(home)
    other = shutil.copytree(bundled_path("base"), home / "moved")
    (file,) = other.glob("*.safetensors")
    tensors = load_file(file)
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(Refusal) as problem:
        go("decompose.harvest", decomposition="planted", **(CONFIG | {"model": "moved"}))
    assert problem.value.code == "decomposition_mismatch" and problem.value.exit_code == 3
    shutil.rmtree(other)
