"""Every number follows from the result, and a changed one is caught; no torch, no figure library."""

import json
import re
import subprocess
import sys

import pytest

from radiograph import reports


def rewrite(folder, old, new, name="report.html"):
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")


def test_every_number_follows(case, tmp_path):
    (tmp_path / "report.html").write_text(case.page.html, "utf-8")
    (tmp_path / "result.json").write_text(json.dumps(case.document), "utf-8")
    problems, checked = reports.broken_pointers(tmp_path)
    assert problems == []
    assert checked > 100


def test_changed_text_is_caught(run_folder):
    rewrite(run_folder, ">0.025</data>", ">0.52</data>")
    [problem] = reports.broken_pointers(run_folder)[0]
    assert "/p_combined" in problem and "'0.52'" in problem


def test_changed_value_attribute_is_caught(run_folder):
    rewrite(run_folder, 'value="0.025"', 'value="0.5"')
    assert len(reports.broken_pointers(run_folder)[0]) == 1


def test_changed_verdict_is_caught(run_folder):
    rewrite(run_folder, ">targeted-change</data>", ">no-evidence</data>")
    assert "/verdict" in reports.broken_pointers(run_folder)[0][0]


def test_changed_result_is_caught(run_folder):
    document = json.loads((run_folder / "result.json").read_text())
    document["panel"]["rows"][0]["drop"] = 0.02
    (run_folder / "result.json").write_text(json.dumps(document))
    [problem] = reports.broken_pointers(run_folder)[0]
    assert "/panel/rows/0/drop" in problem


def test_pointer_to_nothing_is_caught(run_folder):
    rewrite(run_folder, 'data-pointer="/p_combined"', 'data-pointer="/p_combine"')
    assert "points to nothing" in reports.broken_pointers(run_folder)[0][0]


def test_format_that_fits_nothing_is_caught(run_folder):
    rewrite(run_folder, 'data-pointer="/p_combined" data-format=".3g"', 'data-pointer="/p_combined" data-format="Q"')
    assert "is no format" in reports.broken_pointers(run_folder)[0][0]


def test_missing_page_is_a_problem(tmp_path):
    assert reports.broken_pointers(tmp_path)[0]


def test_many_problems_are_counted(run_folder):
    path = run_folder / "report.html"
    path.write_text(re.sub(r'value="[^"]*">', 'value="9">', path.read_text("utf-8")), "utf-8")
    problems, _ = reports.broken_pointers(run_folder)
    assert len(problems) == 21 and problems[-1].startswith("and ")


@pytest.mark.parametrize("forbidden", ["torch", "matplotlib", "jinja2", "numpy", "pydantic.v1"])
def test_checking_imports_nothing_heavy(run_folder, forbidden):
    code = (
        "import sys; from pathlib import Path; from radiograph import reports\n"
        f"reports.broken_pointers(Path({str(run_folder)!r})); sys.exit({forbidden!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
