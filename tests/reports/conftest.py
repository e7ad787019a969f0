"""Pages are written once; tests only read them."""

import json
from functools import cache
from types import SimpleNamespace

import pytest
from tests.reports import _example

from radiograph import reports


@cache
def written(name):
    """One of the example audits with its figures and page."""
    audit = getattr(_example, name)()
    document = _example.document(audit)
    figures = {k: v.decode() for k, v in reports.figures(document).items()}
    page = reports.page(document, **_example.arguments(audit), figures=figures)
    return SimpleNamespace(audit=audit, document=document, figures=figures, page=page)


@pytest.fixture(params=["planted", "identical", "little_measured", "degraded"])
def case(request):
    return written(request.param)


@pytest.fixture
def planted():
    return written("planted")


@pytest.fixture
def run_folder(tmp_path, planted):
    (tmp_path / "report.html").write_text(planted.page.html, "utf-8")
    (tmp_path / "result.json").write_text(json.dumps(planted.document), "utf-8")
    return tmp_path
