"""What every command shares: former names, a copy of the result, another schema, raised limits, no links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radiograph.core import UserError
from radiograph.core.limits import RAISABLE, Limits
from radiograph.runtime import aliases, catalogue
from radiograph.store import Workspace
from radiograph.surfaces.cli._main import run
from running import numbers


@pytest.fixture
def data(workspace) -> str:
    return str(numbers(workspace / "x.txt", 1, 2, 3, 4))


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("former", [["toy", "tally"], ["totals", "lines"]])
def test_a_former_name_works_and_names_the_verb_once(former, data, capsys):
    assert run([*former, data, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["n"] == 4
    assert err.count("radiograph toy count") == 1


@pytest.mark.usefixtures("toy")
def test_former_names_are_listed_nowhere(capsys):
    run(["--help"])
    run(["toy", "--help"])
    out = capsys.readouterr().out
    assert "toy count" in out and "tally" not in out and "totals" not in out
    assert set(aliases()) >= {"toy.tally", "totals.lines"}
    assert not set(aliases()) & set(catalogue())
    assert run(["totals", "nothing"]) == 3


@pytest.mark.usefixtures("toy")
def test_output_is_the_result_and_the_bundle_stays(data, workspace, capsys):
    assert run(["toy", "count", data, "--output", "out.json", "--out", "b", "--quiet"]) == 0
    assert (workspace / "out.json").read_text() == (workspace / "b" / "result.json").read_text()
    assert (workspace / "b" / "manifest.json").is_file()
    assert sorted(p.name for p in workspace.iterdir()) == ["b", "out.json", "x.txt"]
    assert run(["toy", "count", data, "--output", "out.json", "--out", "c", "--quiet"]) == 0


@pytest.mark.usefixtures("toy")
def test_soup_keys_are_sorted_and_stand_in_file_and_on_stdout(data, workspace, capsys):
    assert run(["toy", "count", data, "--schema", "soup", "--json", "--output", "o.json", "--quiet"]) == 0
    expected = '{\n  "kind": "count",\n  "num_lines": 4\n}\n'
    assert capsys.readouterr().out == expected == (workspace / "o.json").read_text()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("values", [(1, 2, 3), ()])
def test_what_soup_keys_cannot_say_is_not_written(values, workspace, capsys):
    data = str(numbers(workspace / "y.txt", *values))
    assert run(["toy", "count", data, "--schema", "soup", "--json", "--output", "o.json", "--quiet"]) == 4
    out, err = capsys.readouterr()
    assert out == "" and not (workspace / "o.json").exists()
    assert ("cannot be said" if values else "nothing to count") in err


@pytest.mark.usefixtures("toy")
def test_output_is_looked_at_before_anything_runs(data, workspace, capsys):
    (workspace / "link.json").symlink_to(workspace / "elsewhere.json")
    for place in ("no/such/folder.json", "link.json", "."):
        assert run(["toy", "count", data, "--output", place, "--quiet"]) == 3
    assert not (workspace / "elsewhere.json").exists() and not (workspace / "runs").exists()


@pytest.mark.usefixtures("toy")
def test_a_limit_is_raised_by_name(data, capsys, monkeypatch):
    monkeypatch.setattr("radiograph.core.limits.RAISABLE", {**RAISABLE, "rows": 3})
    assert run(["toy", "count", data, "--quiet"]) == 3
    assert "--limit rows=4" in capsys.readouterr().err
    assert run(["toy", "count", data, "--limit", "rows=4", "--quiet"]) == 0


@pytest.mark.parametrize("text", ["rosw=3", "rows", "rows=", "rows=-1", "rows=x"])
def test_a_limit_is_a_known_name_and_a_number(text):
    with pytest.raises(UserError):
        Limits.parse([text])


def test_a_limit_is_given_once_as_people_write_numbers():
    assert Limits.parse(["rows=2B", "json-bytes=2GiB"]).raised == {"rows": 2 * 10**9, "json-bytes": 2**31}
    with pytest.raises(UserError, match="twice"):
        Limits.parse(["rows=1", "rows=2"])
    assert Limits()["rows"] == RAISABLE["rows"]


@pytest.mark.usefixtures("toy")
def test_pd_14_links_are_followed_or_refused_in_every_component(data, workspace, capsys):
    (workspace / "real").mkdir()
    numbers(workspace / "real" / "z.txt", 1, 2)
    (workspace / "folder").symlink_to("real")
    (workspace / "file.txt").symlink_to("real/z.txt")
    for given in ("folder/z.txt", "file.txt"):
        assert run(["toy", "count", given, "--quiet"]) == 0
        assert run(["toy", "count", given, "--no-links", "--quiet"]) == 3
        assert "through a link" in capsys.readouterr().err
    assert run(["toy", "count", "real/z.txt", "--no-links", "--quiet"]) == 0


def test_pd_14_a_link_put_there_after_the_check_is_not_followed(workspace, monkeypatch):
    (workspace / "plain.txt").write_text("inside")
    (workspace / "other.txt").write_text("other")
    resolve = Workspace.resolve

    def swap(self: Workspace, text: str, **options: bool) -> Path:
        found = resolve(self, text, **options)
        found.unlink()
        found.symlink_to(workspace / "other.txt")
        return found

    monkeypatch.setattr(Workspace, "resolve", swap)
    with pytest.raises(UserError, match="link"):
        Workspace(workspace, links=False).open("plain.txt")


def test_stores_are_written_down_without_absolute_paths(workspace):
    (workspace / "acts").mkdir()
    here = Workspace(workspace)
    assert here.portable(f"{workspace}/acts#candidate/resid_post.2") == "acts#candidate/resid_post.2"
    assert here.portable(f"store:{workspace}/acts") == "store:acts"
    assert here.portable("model:bundled:base") == "model:bundled:base"
    with pytest.raises(UserError, match="outside"):
        Workspace(workspace, confined=True).confine("store:../x#candidate")
