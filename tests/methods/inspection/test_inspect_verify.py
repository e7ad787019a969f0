"""What `verify` notices: numbers of an inspection that were changed so that they agree with each other."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import polars as pl
import pytest

from radiograph.core import UserError
from radiograph.methods._inspect import causal as causes
from radiograph.methods._intervene.inspected import read_inspected
from radiograph.methods.inspect import recompute
from radiograph.store import Bundle
from radiograph.store.foreign import read_records

from .make import inspect, lines, write
from .test_inspect_sources import moved


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A run with interventions, its result and its tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("verify"))
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        write(Path("records.jsonl"), lines(160))
        write(Path("moved.jsonl"), moved(24))
        shutil.copytree(read_records(Path("records.jsonl"), Path("turned")).folder, "recorded")
        done = inspect(["records:recorded"], out="run", cards=2, candidates=10, interventions="moved.jsonl")
        yield Bundle(done.path)


def changed(result, **values):
    """A result in which fields by their path have other values."""
    made = copy.deepcopy(result)
    for path, value in values.items():
        at = made
        *way, last = path.split("__")
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        assert at[last] != value
        at[last] = value
    return made


FIRST = "correlational__findings__0__"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{FIRST}statistic__interval", [0.998, 0.999], "statistic"),
        (f"{FIRST}effect_size__g", 9.0, "effect_size"),
        (f"{FIRST}statistic__n__units", 10**5, "statistic"),
        (f"{FIRST}near_miss__estimate", 0.123, "near_miss"),
        (f"{FIRST}stability__agreement", 0.123, "stability"),
        (f"{FIRST}discover__estimate", 0.999, "discover"),
        ("study__sham", 9, "study.sham"),
        ("study__tested", 10**6, "study.tested"),
        ("study__few_active", 9, "study.few_active"),
        ("study__detectable", 0.05, "study.detectable"),
        ("study__units_needed", 1, "study.units_needed"),
        ("study__q", 0.5, "study.q"),
        ("study__design__units", [4, 400], "study.units"),
        ("cards__0__response__unit", "bit", "response"),
    ],
)
def test_a_field_of_the_result_follows_from_the_tables(held, path, value, said):
    assert recompute(held.result, held.path) == []
    assert any(said in text for text in recompute(changed(held.result, **{path: value}), held.path))


def test_a_finding_left_out_shows(held):
    made = copy.deepcopy(held.result)
    made["correlational"]["findings"].pop()
    assert any("does not hold the features" in text for text in recompute(made, held.path))


def test_effects_follow_from_the_interventions(held, tmp_path):
    folder, made = shutil.copytree(held.path, tmp_path / "copy"), copy.deepcopy(held.result)
    table = pl.read_parquet(folder / "tables" / "causal.parquet")
    form = pl.col("feature_id") == "form"
    forged = {"grade": "validated", "codes": "", "q": 1e-9, "estimate": 0.9}
    table = table.with_columns(pl.when(form).then(pl.lit(v)).otherwise(k).alias(k) for k, v in forged.items())
    table.write_parquet(folder / "tables" / "causal.parquet")
    finding = next(f for f in made["causal"]["findings"] if f["feature"] == "form")
    was, finding["grade"], finding["codes"] = finding["grade"], "validated", []
    finding["statistic"] |= {"q": 1e-9, "estimate": 0.9}
    made["causal_grades"][was] -= 1
    made["causal_grades"] = {k: v for k, v in made["causal_grades"].items() if v} | {"validated": 1}
    assert any(text.startswith("causal: grade") for text in recompute(made, folder))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("p_analytic", 1e-6, "p_analytic"),
        ("p_permutation", 1.0, "p_permutation is more than p_family"),
        ("discover_z", 99.0, "the candidates are not"),
        ("sham_p", 1e-9, "study.sham"),
        ("rank", 0, "rank 0"),
        ("needed", 1.0, "needed"),
    ],
)
def test_a_number_of_the_table_follows_from_the_others(held, tmp_path, column, value, said):
    folder = shutil.copytree(held.path, tmp_path / "copy")
    path = folder / "tables" / "correlational.parquet"
    table = pl.read_parquet(path)
    place = {
        "discover_z": table["candidate"].not_().arg_true(),
        "sham_p": (table["sham_z"] * table["discover_sham_z"] > 0).arg_true(),
    }.get(column, (table["candidate"] & (table["p_family"] < 1)).arg_true())[0]
    values = table[column].to_list()
    values[place] = value
    table.with_columns(pl.Series(column, values, dtype=table.schema[column])).write_parquet(path)
    assert any(said in text for text in recompute(held.result, folder))


def test_numbers_of_the_table_follow_from_records_at_hand(held, tmp_path, monkeypatch):
    folder = shutil.copytree(held.path, tmp_path / "copy")
    path = folder / "tables" / "correlational.parquet"
    table = pl.read_parquet(path)
    names = ("discover_r", "analytic_low", "near", "selection", "estimate")
    for column in names:
        place = (table["candidate"] & table[column].is_not_null()).arg_true()[0]
        values = table[column].to_list()
        values[place] *= 0.99
        table = table.with_columns(pl.Series(column, values, dtype=table.schema[column]))
    table.write_parquet(path)
    monkeypatch.chdir(held.path.parent)
    assert recompute(held.result, held.path) == []
    found = recompute(held.result, folder)
    assert all(any(f"{name} does not follow from the records" in text for text in found) for name in names)
    monkeypatch.chdir(tmp_path)
    assert not any("from the records" in text for text in recompute(held.result, folder)), "none at hand, nothing said"


def test_a_run_that_did_not_end_or_was_changed_is_not_intervened_on(held, tmp_path, monkeypatch):
    for name in ("altered", "found.partial", "unsealed"):
        shutil.copytree(held.path, tmp_path / name)
    text = (tmp_path / "altered" / "result.json").read_text()
    (tmp_path / "altered" / "result.json").write_text(text.replace('"robust"', '"specific"', 1) + " ")
    (tmp_path / "unsealed" / "manifest.sha256").unlink()
    shutil.copytree(tmp_path / "altered", held.path.parent / "altered")
    rows = held.path.parent / "altered" / "tables" / f"{causes.ROWS}.parquet"
    rows.write_bytes(rows.read_bytes() + b" ")
    for name, code in {"altered": "altered", "found.partial": "incomplete", "unsealed": "incomplete"}.items():
        with pytest.raises(UserError) as caught:
            read_inspected(tmp_path / name, top=3)
        assert (caught.value.code, caught.value.exit_code) == (code, 3), name
    monkeypatch.chdir(held.path.parent)
    with pytest.raises(UserError, match="was changed"):
        inspect(["records:recorded"], interventions=str(rows), permutations=0, bootstrap=0)


def test_some_features_of_records_are_compared_too(held, monkeypatch):
    monkeypatch.chdir(held.path.parent)
    done = inspect(["records:recorded#0,2,4-15"], out="some", cards=0, candidates=5, permutations=0)
    result = Bundle(done.path).result
    assert result["sources"][0]["features"] == 14 and recompute(result, done.path) == []
    wrong = changed(result, study__rank_stability=0.5)
    assert any("study.rank_stability is 0.5" in text for text in recompute(wrong, done.path))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("model", "other", "the model is other"),
        ("criterion__text", "mentions of weather", "criterion.text"),
        ("sources__0__features", 21, "features, the table"),
        ("sources__0__source", "records:elsewhere", "features, the table"),
        ("sources__0__sha256", "0" * 64, "its hash is not that of the records"),
        ("sources__0__absent", "below", "sources.0.absent"),
        ("study__design__pool", "max", "study.design.pool"),
        ("claims_left_out", 1, "0 claims are left out"),
        ("cards__0__feature", "n0", "the card's feature"),
        ("cards__0__classes__0__active", 1, "the card's classes"),
        ("cards__0__histogram__logarithmic", True, "the card's histogram"),
        ("cards__1__contexts__0__prompt_id", "p0x", "the card's contexts"),
        ("cards__1__coactive__0__value", 0.999, "the card's coactive"),
    ],
)
def test_what_a_page_shows_follows_from_records_at_hand(held, monkeypatch, path, value, said):
    monkeypatch.chdir(held.path.parent)
    assert any(said in text for text in recompute(changed(held.result, **{path: value}), held.path))
