"""The original's table and log, labels of one's own, and the score as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiograph.core import FormatError
from radiograph.store.collapse import (
    Labelled,
    document_of,
    read_labels,
    read_study_log,
    read_study_tsv,
    score_of,
    shipped_score,
    write_labelled,
)

HEAD = "core_id\ttype\tlevel\tsweep\tprompt\toutput\n"
LOG = """# Intervention Activation Capture Log (X)
### Prompt 1/2: core_id=the_old_mill_type=declarative_level=3

#### Intervention: sweep=baseline
- **Target Key:** `x`
- **Generated Text:**
```
The mill
```
stands.
```
- **Output Text Saved:** `a.txt`

#### Intervention: sweep=-50
- **Generated Text:** (No new tokens)
- **Result:** Skipped capture (no new tokens).

### Prompt 2/2: core_id=ferry_type=rhetorical_level=1

#### Intervention: sweep=None
- **Generated Text:**
```
Gone.
```
- **Result:** Vector captured
"""
PROMPTS = {("the_old_mill", "declarative", "3"): "The mill stands.", ("ferry", "rhetorical", "1"): "Has it left?"}


def test_r19_and_d4_a_table_with_underscores_quotes_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    rows = 'the_old_mill\tdeclarative\t3\tbaseline\tIs it?\t"He said ""yes"".\nThen left."\n'
    path.write_text(HEAD + rows + "the_old_mill\tdeclarative\t3\t-50\tIs it?\tno no\n" + "a_b\tx\t1\t\tq\t\n")
    first, second, third = read_study_tsv(path)
    assert (first.core, first.sweep, first.output) == ("the_old_mill", None, 'He said "yes".\nThen left.')
    assert second.sweep == "-50"
    assert (third.core, third.sweep, third.output) == ("a_b", None, "")


@pytest.mark.parametrize("name", ["None", "baseline", "", "BASELINE"])
def test_r19_names_of_the_reference(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"{HEAD}a\tb\t1\t{name}\tp\to\n")
    assert read_study_tsv(path)[0].sweep is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("core_id\ttype\n1\t2\n", "no column level, sweep, prompt, output"),
        (HEAD, "holds no rows"),
        (HEAD + "a\tb\t1\t5\tp\tx\na\tb\t1\t5\tp\ty\n", "one prompt under one dose twice"),
    ],
)
def test_bad_tables_say_what_and_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(FormatError, match=said):
        read_study_tsv(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="UTF-8"):
        read_study_tsv(path)


def test_r19_a_log_with_a_fence_inside_a_text(tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    path.write_text(LOG[LOG.index("\n") + 1 :], "utf-8-sig")
    rows = read_study_log(path, PROMPTS)
    assert [(r.core, r.type, r.level, r.sweep) for r in rows] == [
        ("the_old_mill", "declarative", "3", None),
        ("the_old_mill", "declarative", "3", "-50"),
        ("ferry", "rhetorical", "1", None),
    ]
    assert [r.output for r in rows] == ["The mill\n```\nstands.", "", "Gone."]
    assert rows[0].prompt == "The mill stands."


def test_a_log_with_another_grid_or_an_open_fence_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.md"
    path.write_text(LOG)
    with pytest.raises(FormatError, match="no such prompt"):
        read_study_log(path, {})
    path.write_text(LOG[: LOG.index("Gone.")])
    with pytest.raises(FormatError, match="not closed"):
        read_study_log(path, PROMPTS)
    path.write_bytes(b"\xff\xfe" + LOG.encode("utf-16-le"))
    with pytest.raises(FormatError, match="UTF-8"):
        read_study_log(path, PROMPTS)
    path.write_text("# nothing")
    with pytest.raises(FormatError, match="no generated text"):
        read_study_log(path, PROMPTS)


def test_labels_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,collapsed,nll_band\nfine,0,1.5\nno no,yes,\n")
    assert [(row.collapsed, row.nll_band) for row in read_labels(path)] == [(False, 1.5), (True, None)]
    path.write_text("text,collapsed\nx,maybe\n")
    with pytest.raises(FormatError, match="not a label"):
        read_labels(path)
    for band in ("abc", "nan", "1e999"):
        path.write_text(f"text,collapsed,nll_band\nfine,0,1\nno no,1,{band}\n")
        with pytest.raises(FormatError, match="nll_band") as caught:
            read_labels(path)
        assert "line 3" in str(caught.value)
    path.write_text("text\nx\n")
    with pytest.raises(FormatError, match="no column collapsed"):
        read_labels(path)


def test_equal_labels_give_equal_bytes(tmp_path: Path) -> None:
    rows = [Labelled("a", True, "x", "g"), Labelled("ü", False, "y", "h")]
    for name in ("one", "two"):
        write_labelled(rows, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_score_survives_its_file() -> None:
    score = shipped_score()
    again = score_of(document_of(score))
    text = "The ferry leaves at nine and the gulls are loud about it all morning."
    assert again.judge(text) == score.judge(text)
