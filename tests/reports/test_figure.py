"""Figures: equal bytes, no clock, no program name, text as text, nothing from outside as markup."""

import re
from xml.etree import ElementTree

import pytest
from tests.reports import _example

from radiograph import reports
from radiograph.reports._figure import drawing, inlined, svg


def draw(label="plain", name="one"):
    with drawing(3, 2) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], label="x")
        axes.set_title(label)
        return svg(figure, name, "a title")


def test_same_figure_same_bytes():
    assert draw() == draw()


def test_no_date_no_program_no_foreign_address():
    text = draw().decode()
    assert "metadata" not in text and "Matplotlib" not in text
    assert set(re.findall(r'https?://[^"]*', text)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


@pytest.mark.parametrize("label", ["$x", "a_{b}^$", "<script>", "日本語", "& ]]>", "\\frac{"])
def test_text_stays_text(label):
    root = ElementTree.fromstring(draw(label))
    assert label in {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}


def test_two_figures_share_no_id():
    def ids(name):
        return set(re.findall(r'\bid="([^"]*)"', draw(name=name).decode()))

    assert ids("one") and not ids("one") & ids("two")


def test_inside_a_page_it_brings_no_style_and_no_namespace():
    text = inlined(draw().decode(), "one")
    assert text.startswith('<svg class="figure figure-one"') and "<style" not in text and "http" not in text


def test_colours_follow_the_page():
    figures = reports.figures(_example.document(_example.planted()))
    for name, image in figures.items():
        ElementTree.fromstring(image)
        bare = re.sub(r"var\(--fig-\w+, #[0-9a-f]{6}\)|<style.*?</style>", "", image.decode(), flags=re.DOTALL)
        assert not re.findall(r"#[0-9a-f]{6}\b", bare), name
