"""The page of a dictionary's evaluation: figures that were asked for, refusals in words, nothing that can do harm."""

from __future__ import annotations

import json

import pytest
from tests.reports._html import StrictPage
from tests.reports.test_page import COMMON, infected, write

from radiograph import reports
from radiograph.evidence import (
    AgreementRecord,
    Densities,
    Estimate,
    ExclusivityRecord,
    FvuBand,
    GeometryRecord,
    MeasuredRows,
    Metric,
    RecoveryRecord,
    RefusalRecord,
    Requirement,
    ScaledFeature,
    SplicedTokens,
    pretty_json,
)
from radiograph.methods.dictionary._evaluation.metrics import KINDS
from radiograph.methods.dictionary.evaluate import DictionaryEvaluation
from radiograph.reports.pages.dictionary_evaluation import FIRST, WORDS

SITES = ("reference/resid_post.6", "candidate/resid_post.6")
CLOSED = "schema name group kind activation check origin split by role side state sense code metric what pairing method"
SPARE = set(CLOSED.split())


def metric(name, value, source=None, **other):
    estimate = Estimate(value=value, low=value * 0.9, high=value * 1.1, n=5000, null=1.0)
    return Metric(name=name, group=KINDS[name].group, source=source, estimate=estimate, random=1.5, **other)


def probes():
    states = ("exclusive", "attenuated", "shared", "not_measured")
    for place, role in enumerate(("nominee", "shared", "random_direction", "copy")):
        for i, state in enumerate(states):
            known = state != "not_measured"
            yield ScaledFeature(
                role=role,
                feature=10 * place + i,
                side="candidate" if i % 2 else "reference",
                rho=0.95 if i % 2 else 0.03,
                state=state,
                active=400 if known else 40,
                beta_strong=1.0 if known else None,
                nu_error=0.1 + 5 * i if known else None,
                nu_error_bound=0.2 if known else None,
                nu_reconstruction=0.3 if known else None,
                nu_reconstruction_bound=0.4 if known else None,
            )


def document(**changes):
    result = DictionaryEvaluation(
        label="mine",
        sha256="ab" * 32,
        kind="crosscoder",
        activation="jumprelu",
        sites=SITES,
        targets=SITES,
        size=96,
        width=128,
        check="native",
        transfer=False,
        rows=MeasuredRows(origin="activations", split="validation", n=5000, groups=200, units=200),
        spliced=(SplicedTokens(source=SITES[0], predicted=6000, replaced=5000, groups=200, exact=1e-9),),
        metrics=(
            metric("fvu", 0.2, linear=0.3),
            *(metric("fvu", v, s) for v, s in zip((0.1, 0.3), SITES, strict=True)),
            metric("l0", 16.0),
            metric("delta_ce", 0.02, SITES[0]),
            metric("dead", 3.0),
            metric("mmcs", 0.9),
        ),
        densities=Densities(n=5000, histogram=(0,) * 40 + (5,) * 30, random=(0,) * 50 + (4,) * 20, dead_below=6e-4),
        bands=tuple(
            FvuBand(
                source=s,
                by=by,
                low=2.0**i,
                high=2.0 ** (i + 1) if i < 3 else None,
                fvu=metric("fvu", 0.1 * (i + 1)).estimate,
            )
            for s in SITES
            for by in ("position", "norm")
            for i in range(4)
        ),
        geometry=GeometryRecord(
            n=96,
            nearest=(0,) * 26 + (10, 50, 36) + (0,) * 11,
            random=(0,) * 27 + (90,) + (0,) * 12,
            pairs=((1, 2, 0.97),),
        ),
        recovery=RecoveryRecord(directions=40, found=30, live=90, precise=30, chance_best=0.5),
        agreement=AgreementRecord(other_sha256="cd" * 32, pairing="hungarian", n=96, shared=50, null_shared=2),
        exclusivity=(
            ExclusivityRecord(
                reference=SITES[0],
                candidate=SITES[1],
                nominated=4,
                exclusive_reference=1,
                exclusive_candidate=0,
                attenuated=1,
                shared=1,
                not_measured=1,
                copy_exclusive=0,
                features=tuple(probes()),
            ),
        ),
        curve=({"rows": 1e3, "loss": 0.9}, {"rows": 2e6, "loss": 0.4, "fvu": 0.3}, {"rows": 3e6, "fvu": 0.2}),
        requirements=(
            Requirement(text="fvu<0.1", metric="fvu", source=None, bound=0.1, sense="<", value=0.2, met=False),
        ),
        not_measured=(
            RefusalRecord(code="ablation_gap", what=f"ce_recovered_mean@{SITES[0]}", text="costs too little"),
            RefusalRecord(code="ablation_gap", what=f"ce_recovered_zero@{SITES[0]}", text="costs too little"),
        ),
    ).model_copy(update=changes)
    return json.loads(pretty_json(result)), result


def page(doc, *, draw=False):
    drawn = {k: v.decode() for k, v in reports.figures(doc).items()} if draw else {}
    return reports.page(doc, **COMMON, figures=drawn)


def test_every_number_of_the_page_is_the_documents(tmp_path):
    doc, result = document()
    made = page(doc, draw=True)
    write(tmp_path, doc, made)
    problems, n = reports.broken_pointers(tmp_path)
    assert problems == [] and n > 60
    assert StrictPage(made.html).faults == []
    assert "0.200" in made.markdown and result.headline.startswith("FVU 0.200")


def test_every_metric_has_words_and_the_first_screen_has_its_six():
    assert set(WORDS) == set(KINDS)
    assert {"fvu", "l0", "delta_ce", "dead", "dense"} <= set(FIRST) <= set(KINDS)


def test_figures_are_the_same_twice_and_are_left_out_where_nothing_was_asked():
    doc, _ = document()
    drawn = reports.figures(doc)
    assert set(drawn) == {"density", "fvu_bands", "neighbours", "curve", "exclusivity"}
    assert drawn == reports.figures(doc)
    bare, _ = document(densities=None, bands=(), curve=(), exclusivity=(), rows=None)
    assert set(reports.figures(bare)) == {"neighbours"}


def test_what_was_not_measured_stands_on_the_first_screen_with_its_reason():
    html = page(document()[0]).html
    first = html[: html.index("All numbers")]
    assert "not measured" in first and "costs too little" in first
    assert "dense" not in first.split("<table")[1].split("</table>")[0], "neither measured nor refused: no row"
    assert "CE recovered, mean at reference/resid_post.6, CE recovered, zero at reference/resid_post.6" in html


def test_the_page_warns_of_proxies_and_of_norms():
    html = page(document()[0]).html
    assert "SAEBench" in html and "do not order dictionaries by usefulness" in html
    assert "norms only nominate" in html
    broken = document()[0]
    broken["exclusivity"][0]["copy_exclusive"] = 2
    assert "do not trust this table" in page(broken).html


@pytest.mark.parametrize("draw", [True, False])
def test_names_from_files_are_text(draw):
    doc = infected(document()[0], SPARE)
    made = page(doc, draw=draw)
    assert StrictPage(made.html).faults == []
    assert "<script" not in made.html and "<img" not in made.html
