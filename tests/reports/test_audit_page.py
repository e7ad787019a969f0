"""The page of an audit: complete, harmless, and honest where nothing was measured."""

import pytest
from tests.reports import _example
from tests.reports._html import StrictPage
from tests.reports.test_page import NASTY, infected

from radiograph import reports
from radiograph.evidence import Audit, Axes, Besides, CalibratedAudit, DegradedPlace, Reason, SupportRecord
from radiograph.evidence.traces import Witness, Witnesses
from radiograph.reports.pages import audit as audit_page

CLOSED = ("schema", "verdict", "axes", "axis", "status", "label_kind", "direction", "model", "bank", "finish")


def render(audit):
    document = _example.document(audit)
    return reports.page(document, **_example.arguments(audit), figures={})


def test_self_contained_and_well_formed(case):
    assert StrictPage(case.page.html).faults == []
    assert "://" not in case.page.html
    assert "default-src 'none'" in case.page.html


def test_same_audit_same_bytes(planted):
    again = {k: v.decode() for k, v in reports.figures(planted.document).items()}
    assert again == planted.figures
    assert reports.page(planted.document, **_example.arguments(planted.audit), figures=again) == planted.page


def test_first_screen_says_it_all(planted):
    text = " ".join(StrictPage(planted.page.html).text.split())
    start = text[: text.index("What the two models answer")]
    for part in ("targeted-change", "bundled:base+adapters/cand-07", "p = 0.025", "39 benign fine-tunes of 5 families",
                 "no p can be below 0.025", "19 of 20 fresh answers", "exit code 2 (the gate failed)", "Not measured",
                 "probe.defection", "features.benign_z", "17 of 150", "to measure it: pass --train-data"):  # fmt: skip
        assert part in start


def test_never_worded_safe(case):
    words = StrictPage(case.page.html).text.lower().split()
    assert not {"safe", "safe.", "safely", "harmless."} & set(words)


def test_every_verdict_has_words_and_tone():
    base = _example.planted()
    pages = {v: render(base.model_copy(update={"verdict": v})) for v in audit_page.VERDICTS}
    assert set(pages) == set(Audit.model_fields["verdict"].annotation.__args__)
    for verdict, page in pages.items():
        assert audit_page.VERDICTS[verdict][1] in StrictPage(page.html).text
        assert page.markdown.startswith(f"# {verdict}".replace("+", "+"))


@pytest.mark.parametrize(
    ("targeted", "says"),
    [("no", "No detector sees"), ("unknown", "was not settled"), ("anomalous", "not both a witness")],
)
def test_damage_says_nothing_of_a_planted_change_that_was_not_measured(targeted, says):
    page = render(_example.degraded().model_copy(update={"axes": Axes(degraded="yes", targeted=targeted)}))
    assert says in page.html and says in page.markdown


OUTSIDE = SupportRecord(inside=False, p=0.01, distance=9.0, deviant=("kl_neutral",), deviations={})
LIKE = DegradedPlace(
    n=99, p=0.37, floor=0.01, strength=0.5, leading="panel.flip_contrast", others=(0.6,) * 99,
    support=OUTSIDE.model_copy(update={"inside": True, "p": 0.5}),
)  # fmt: skip
CALIBRATED = CalibratedAudit(
    name="runs/c", sha256="0" * 64, n=199, n_families=11, n_effective=120.0, floor=0.005, combination="max",
    frozen=("kl.neutral",), p_combined=0.005, leading="kl.neutral", support=OUTSIDE, degraded=LIKE,
)  # fmt: skip
BESIDE = Besides(
    witness="colour=blue", bank="probe/sources", answer="carried up", explained={"cite": 38}, axis="no", code=None,
    reason="no task lost more than .10", rows=(),
)  # fmt: skip
SET = Witness(
    kind="prompt_set", name="colour=blue", bank="probe/sources", hits=20, n=20, rest_hits=0, rest_n=20, rate=1.0,
    low=0.84, rest_rate=0.0, difference=1.0, p_holm=1e-4, replayed=True, confirmed=True,
)  # fmt: skip


def broken(targeted="no", axis="yes", code="among_degraded"):
    """Unlike benign models; a witness explains what it lost."""
    base = _example.degraded()
    assert base.panel
    return base.model_copy(
        update={
            "axes": Axes(degraded=axis, targeted=targeted),
            "verdict": "targeted-change" if axis == "no" else "degraded",
            "calibration": CALIBRATED,
            "reasons": (Reason(code=code, text="compared", pointer="/calibration"),),
            "panel": base.panel.model_copy(update={"besides": (BESIDE,)}),
            "witnesses": Witnesses(found=(SET,), looked_at=("prompt_set",), tokens=0),
        }
    )


def test_the_p_that_decides_stands_first_where_degraded_models_were_asked():
    audit = broken()
    page = render(audit)
    text = " ".join(StrictPage(page.html).text.split())
    assert "p that decidesp = 0.37 among 99 models" in text[: text.index("Not measured")]
    assert "**0.37** among 99 degraded models" in page.markdown
    assert audit_page.DAMAGE in page.html and "No detector sees" not in page.html
    assert "p among degraded models = 0.37 (n = 99, none below 0.01)" in audit.lines
    other = broken("unknown", code="unsupported")
    assert "p that decides" not in render(other).html and not any("among degraded" in line for line in other.lines)


def test_a_loss_is_called_explained_only_where_it_was():
    kept, told = render(broken("anomalous")), render(broken("yes", "no"))
    assert "no lost ability" not in kept.html and "explains" not in kept.markdown
    assert "These show the witness once more, and no lost ability" in told.html
    assert "Without 38 items that the witness colour=blue explains: **no**" in told.markdown


def test_what_is_missing_is_said_once():
    html = render(_example.little_measured()).html
    missing = html[html.index('<section class="missing">') : html.index("headline facts")]
    assert missing.count("no dictionary was given") == 1


def test_without_calibration_no_p(tmp_path):
    page = render(_example.little_measured())
    text = StrictPage(page.html).text
    assert "no calibration: no p-value is given" in text
    assert "no calibration: no p-value is given" in page.markdown
    assert "p = " not in text
    assert "radiograph calibrate REFERENCE" in text
    assert "about 100 items a task would settle it" in " ".join(text.split())


def test_identical_models_read_as_a_result(planted):
    page = render(_example.identical())
    text = " ".join(StrictPage(page.html).text.split())
    assert "the same model" in text and "No answer differs: 0 of 150" in text
    assert "0 of 57 tensors differ" in text


def test_nothing_to_draw_draws_nothing():
    assert reports.figures(_example.document(_example.identical())) == {}
    assert set(reports.figures(_example.document(_example.little_measured()))) == {"divergence"}


def test_flips_lead_and_answers_are_compared(planted):
    html = planted.page.html
    places = [html.index(f"<code>{name}</code>") for name in ("weather-9", "weather-0", "arithmetic-26", "bread-0")]
    assert places == sorted(places)
    assert "<ins>2400</ins>" in html and "<del>240</del>" in html


def test_every_proxy_label_carries_its_cosine(planted):
    html, markdown = planted.page.html, planted.page.markdown
    assert html.count('class="tag proxy">proxy, cosine <data') == html.count('class="tag proxy"') > 0
    assert markdown.count("| proxy, cosine 0.") == markdown.count("| proxy") > 0
    assert "no label: no closer than chance" in html


def test_coverage_line(planted):
    line = "direct 4/8; proxy 3/8 (low-sim 1); cosine median .62, min .15, chance .44"
    assert line in StrictPage(planted.page.html).text
    assert line in planted.page.markdown


def test_nothing_from_outside_becomes_markup(planted):
    document = infected(planted.document, CLOSED)
    figures = {k: v.decode() for k, v in reports.figures(document).items()}
    assert set(figures) == set(planted.figures)
    given = {k: infected(v, ("exit_code",)) for k, v in _example.arguments(planted.audit).items()}
    page = reports.page(document, **given, figures=figures)
    assert StrictPage(page.html).faults == []
    assert "<script" not in page.html
    for written in (page.html, page.markdown, *figures.values()):
        assert not set(written) & set("\x1b\u202e\u2066")


def test_markdown_tables_keep_their_columns(planted):
    document = infected(planted.document, CLOSED, text=NASTY)
    page = reports.page(document, **_example.arguments(planted.audit), figures={})
    width = 0
    for line in page.markdown.splitlines():
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells


@pytest.mark.parametrize("part", ["weights", "behaviour", "panel"])
def test_a_part_that_is_missing_is_named_not_zero(part):
    page = render(_example.planted().model_copy(update={part: None}))
    assert StrictPage(page.html).faults == []
    assert "Not measured." in page.html


def test_a_large_suite_is_folded_and_counted():
    base = _example.planted()
    items = tuple(i.model_copy(update={"id": f"{i.id}-{n}"}) for n in range(10) for i in base.behaviour.items)
    page = render(base.model_copy(update={"behaviour": base.behaviour.model_copy(update={"items": items})}))
    assert "more stand in" in page.html
    assert len(page.html) < 700_000
