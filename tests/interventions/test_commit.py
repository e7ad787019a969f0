"""Sweeps on their way to disk: plans, memory that runs out, batches that were damaged."""

import json

import numpy as np
import pytest
import torch

import radiograph.interventions._commit as commit
from models.make import network, prompts, tokenizer
from radiograph.core import FormatError, UserError
from radiograph.evidence import Decoding
from radiograph.interventions import Sweep, bind, parse_conditions, rows_table, sweep_into
from radiograph.models import Reads, wrap
from radiograph.store.vectors import BatchWriter


@pytest.fixture(scope="module")
def sweep():
    model = wrap(network("llama"), tokenizer(merges=38))
    conditions = bind(model, parse_conditions(["mlp_hidden.1[3]:set:-2,2"]))
    reads = Reads(tuple(model.sites("mlp_hidden.1")))
    return Sweep(model, [tuple(t) for t in prompts(5)], conditions, Decoding(new_tokens=3), reads=reads)


def columns(sweep):
    names = [f"p{n}" for n in range(len(sweep.prompts))]
    return {"prompt_id": names, "core": names, "variant": [1] * len(names), "prompt": names}


def test_where_memory_runs_out_the_rest_is_planned_anew(sweep, tmp_path, monkeypatch):
    whole = rows_table(sweep, sweep_into(sweep, tmp_path / "a", batch_rows=6), columns(sweep))
    real, seen = commit.run_batch, []

    def small(sweep, batch, given=None):
        seen.append(len(batch))
        if len(seen) > 1 and len(batch) > 3:
            raise torch.cuda.OutOfMemoryError
        return real(sweep, batch, given)

    monkeypatch.setattr(commit, "run_batch", small)
    writer = sweep_into(sweep, tmp_path / "b", batch_rows=6)
    assert [len(batch) for batch in writer.batches] == [6, 3, 3, 3]
    assert json.loads((tmp_path / "b" / "plan.json").read_text())["batches"] == [list(b) for b in writer.batches]
    again = rows_table(sweep, writer, columns(sweep))
    for name in ("row", "ids", "condition", "sha256"):
        assert again[name].to_list() == whole[name].to_list()
    monkeypatch.setattr(commit, "run_batch", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        sweep_into(sweep, tmp_path / "c")


def test_a_damaged_batch_is_done_again(sweep, tmp_path, monkeypatch):
    writer = sweep_into(sweep, tmp_path, batch_rows=6)
    shard = tmp_path / "00001.safetensors"
    data = shard.read_bytes()
    shard.write_bytes(data[:-4])
    assert [writer.done(n) for n in range(3)] == [True, False, True]
    sweep_into(sweep, tmp_path, batch_rows=6)
    assert shard.read_bytes() == data


def test_another_sweep_and_a_plan_that_is_none_are_refused(sweep, tmp_path):
    BatchWriter(tmp_path, sweep.job_sha256).plan([[0]])
    with pytest.raises(UserError, match="did something else"):
        BatchWriter(tmp_path, "0" * 64)
    (tmp_path / "plan.json").write_text('{"schema": "other/1"}')
    with pytest.raises(FormatError, match="not the plan of a sweep"):
        BatchWriter(tmp_path, sweep.job_sha256)


def test_every_row_has_its_own_hash_and_a_factor_may_not_be_a_column(sweep, tmp_path):
    writer = sweep_into(sweep, tmp_path)
    table = rows_table(sweep, writer, columns(sweep))
    assert len(set(table["sha256"])) == len(sweep.rows) == 15
    assert np.isfinite(table["mean_logprob"].to_numpy()).all()
    with pytest.raises(UserError, match="a factor is called stop"):
        rows_table(sweep, writer, {**columns(sweep), "stop": [1] * 5})


def test_what_decides_a_row_is_in_its_hash_and_nothing_else(sweep):
    from dataclasses import replace

    row = sweep.rows[4]
    same = replace(sweep, prompts=[*sweep.prompts, (5, 6)])
    assert same.sha256(same.rows[4]) == sweep.sha256(row)
    for change in (
        {"decoding": Decoding(new_tokens=4)},
        {"reads": Reads(sweep.reads.sites, "max")},
        {"follow": "reference"},
        {"conditions": bind(sweep.model, parse_conditions(["mlp_hidden.1[3]:set:-2.5,2"]))},
    ):
        assert replace(sweep, **change).sha256(row) != sweep.sha256(row)


def test_a_job_that_measures_more_is_another_job(sweep, tmp_path):
    """The rows are the same rows, and the batches of one lack what the other measures."""
    from dataclasses import replace

    plain, measured = replace(sweep, divergence=False), replace(sweep, divergence=True)
    assert plain.sha256(plain.rows[4]) == measured.sha256(measured.rows[4])
    BatchWriter(tmp_path, plain.job_sha256).plan([[0]])
    with pytest.raises(UserError, match="did something else"):
        BatchWriter(tmp_path, measured.job_sha256)
