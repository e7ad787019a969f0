"""Any result has a page that is self-contained, harmless and the same each time."""

import json

import pytest
from tests.reports._html import StrictPage

from radiograph import reports
from radiograph.evidence import Refused
from radiograph.reports import _environment

NASTY = (
    "</style><script>alert(1)</script>\"'><img src=x onerror=y>{{7*1367}}{% x %}"
    "\x1b[31m\u202e\u2066 |`a` [l](http://e.x) \n# h &lt;"
)
COMMON = {
    "headline": "found",
    "exit_code": 0,
    "verb": "foo bar",
    "summary": "Do foo.",
    "evidence_sha256": "ab" * 32,
    "run_id": "123",
    "inputs": [{"role": "model", "ref": "x", "kind": "model", "sha256": "c" * 64, "tensors_sha256": None, "notes": ()}],
}
RESULT = {
    "schema": "radiograph.foo/1",
    "n": 12,
    "x": -1.25,
    "ok": True,
    "nothing": None,
    "text": "plain",
    "words": ["a", "b"],
    "empty": [],
    "estimate": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 7, "unit": "nats"},
    "rows": [
        {"a": 1, "items": "x", "c": {"value": 0.5, "low": None, "high": None, "n": 7, "unit": ""}},
        {"a": 2, "items": "y", "c": None},
    ],
    "deep": {"p": 1e-5, "q": {"r": [1, 2], "s": {"t": {"u": {"v": 1}}}}},
    "bare": {},
}  # fmt: skip


def write(tmp_path, document, page):
    (tmp_path / "report.html").write_text(page.html, "utf-8")
    (tmp_path / "result.json").write_text(json.dumps(document), "utf-8")


def infected(value, spare=(), text=NASTY):
    """The same document with the nasty text in place of every string that is no closed vocabulary."""
    if isinstance(value, dict):
        return {k: v if k in spare else infected(v, spare, text) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [infected(v, spare, text) for v in value]
    return text if isinstance(value, str) else value


def test_any_result_has_a_page(tmp_path):
    page = reports.page(RESULT, **COMMON, figures={})
    strict = StrictPage(page.html)
    assert strict.faults == []
    assert "://" not in page.html
    for text in ("found", "Do foo.", "−1.25", "plain", "0.5 [0.1, 0.9] n = 7 · nats", "exit code 0: pass"):
        assert text in strict.text
    write(tmp_path, RESULT, page)
    assert reports.broken_pointers(tmp_path) == ([], 13)
    assert "| x | −1.25 |" in page.markdown


def test_rows_with_other_keys_are_shown(tmp_path):
    document = {"schema": "radiograph.foo/1", "rows": [{"a": 1}, {"a": 2, "b": "second"}, {"b": 7}]}
    page = reports.page(document, **COMMON, figures={})
    assert "second" in StrictPage(page.html).text


@pytest.mark.parametrize(
    "document", [{}, {"schema": "radiograph.foo/1"}, {"schema": 3}, {"schema": "radiograph.pages/1"}]
)
def test_a_document_without_a_page_of_its_own(document):
    assert reports.figures(document) == {}
    assert StrictPage(reports.page(document, **COMMON, figures={}).html).faults == []


def test_a_refused_run_says_why():
    refused = Refused(
        code="tokenisers_differ", text="the tokenizers differ", expected="equal", got="two", fix="use one"
    )
    page = reports.page(
        refused.model_dump(mode="json"), **{**COMMON, "exit_code": 4, "headline": refused.headline}, figures={}
    )
    text = StrictPage(page.html).text
    for part in ("tokenisers_differ", "the tokenizers differ", "use one", "neither a pass nor a finding"):
        assert part in text
    assert "the tokenizers differ" in page.markdown


def test_long_tables_are_cut_and_say_so():
    document = {"schema": "radiograph.foo/1", "rows": [{"i": i} for i in range(500)]}
    page = reports.page(document, **COMMON, figures={})
    assert page.html.count("<tr><td") < 250
    assert "The first 200 of 500" in page.html


def test_nothing_from_outside_becomes_markup():
    document = infected(RESULT, ("schema",))
    given = {k: infected(v, ("exit_code",)) for k, v in COMMON.items()}
    page = reports.page(document, **given, figures={})
    strict = StrictPage(page.html)
    assert strict.faults == []
    for written in (page.html, page.markdown):
        assert not set(written) & set("\x1b\u202e\u2066")
        assert str(7 * 1367) not in written
    assert "<script" not in page.html and "<img" not in page.html
    assert "<script>alert(1)</script>" in strict.text


def test_markdown_shows_text_as_it_is():
    escaped = _environment.escape_markdown("a|b <i> *x* _y_ `z` [l](http://e.x) www.e.x\n# h")
    assert escaped == r"a\|b \<i\> \*x\* \_y\_ \`z\` \[l\](http\://e.x) www\.e.x \# h"
    assert _environment.code_span("a`b|c\nd") == "``a`b\\|c d``"
    assert _environment.code_span("`") == "`` ` ``"
    assert _environment.code_span("") == "` `"


def test_a_number_without_a_place_cannot_be_printed():
    with pytest.raises(TypeError, match="no place"):
        _environment.number(0.5)


def test_same_document_same_bytes():
    assert reports.page(RESULT, **COMMON, figures={}) == reports.page(RESULT, **COMMON, figures={})
