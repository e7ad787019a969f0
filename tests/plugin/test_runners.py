"""A runner of somebody hands out the parts of an order; what it brings back is verified before it is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moved import TARGETS, plant, write_prompts
from plugin.joining import PACKAGE, installed
from radiograph.core import ExitCode, RadiographError, UserError
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run
from running import contents, go

ASKED: dict[str, Any] = {
    "model": "planted",
    "features": ["units:mlp_hidden.2#5,7,9"],
    "criterion": "the next token is a unit",
    "prompts": "prompts.jsonl",
    "targets": TARGETS,
    "positions": "last",
    "max_negative": 5,
    "dose": "-1,1",
    "rows": 16,
    "controls": 0,
    "neutral_texts": 2,
}
HERE = """
    import radiograph

    def run(parts, folder):
        for part in reversed(parts):
            place = folder / part["shard"].replace("/", "-of-")
            yield radiograph.intervene(out=place, **part).path
"""
ORDER_ALONE = """
    import radiograph

    def run(parts, folder):
        for part in parts:
            held = {name: part[name] for name in ("order", "shard", "seed")}
            yield radiograph.intervene(out=folder / part["shard"].replace("/", "-"), **held).path
"""
FAULTS = {
    "fails": (
        "def run(parts, folder):\n    raise OSError('no machine')",
        RadiographError,
        f"of {PACKAGE} 1.2 failed: OSE",
    ),
    "nothing": ("def run(parts, folder):\n    return []", UserError, "what is no run of a part"),
    "elsewhere": ("def run(parts, folder):\n    return ['run']", UserError, "what is no run of a part"),
    "empty": (
        "def run(parts, folder):\n    (folder / 'a').mkdir()\n    return [folder / 'a']",
        UserError,
        "a is not a bundle",
    ),
    "half": (HERE.replace("reversed(parts)", "parts[:1]"), UserError, "in none of the shards"),
    "edited": (
        HERE.replace("yield ", "made = ")
        + """
            rows = made / "tables" / "costs.parquet"
            rows.write_bytes(rows.read_bytes()[:-1] + b"x")
            yield made
""",
        UserError,
        "is changed, so it is not merged",
    ),
    "other": (
        HERE.replace("**part", 'model="planted", **OTHER')
        + "\n    OTHER = "
        + repr({name: value for name, value in ASKED.items() if name != "model"} | {"rows": 12}),
        UserError,
        "is a part of another order",
    ),
    "without": ("def run(parts): ...", UserError, "cannot be the runner 'theirs'"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a planted model and one finished run."""
    folder = tmp_path_factory.mktemp("runners")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        plant(folder / "planted")
        write_prompts(folder / "prompts.jsonl")
        go("intervene", out="run", seed=3, **ASKED)
        yield folder


@pytest.fixture
def site(tmp_path_factory):
    return tmp_path_factory.mktemp("site")


@pytest.mark.parametrize(("text", "many"), [(HERE, "2"), (ORDER_ALONE, "1")], ids=["whole", "order"])
def test_z_a_runner_of_somebody_gives_the_bytes_of_one_run(place, site, text, many):
    out = f"handed-{many}"
    with installed(site, {"radiograph.runners theirs": "their_runner"}, {"their_runner": text}):
        made = go("intervene", out=out, seed=3, **ASKED, runner="theirs", workers=many)
    assert made.exit_code is go("verify", run="run").exit_code is ExitCode.PASS
    assert len(list((place / out / "steps").iterdir())) == int(many)
    one, other = contents(place / "run"), contents(place / out)
    same = [name for name in one if name.startswith("tables/") or name in ("result.json", "order.json")]
    assert len(same) == 7 and all(one[name] == other[name] for name in same)
    assert verify(place / out).status == "intact"  # without the package
    steps = json.loads((place / out / "manifest.json").read_bytes())["steps"]
    assert "runner theirs" in [step["name"] for step in steps]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_runner_brings_back_is_not_believed(place, site, fault):
    text, error, said = FAULTS[fault]
    with (
        installed(site, {"radiograph.runners theirs": "their_runner"}, {"their_runner": text}),
        pytest.raises(error, match=said),
    ):
        go("intervene", out=f"fault-{fault}", seed=3, **ASKED, runner="theirs", workers="2")
    assert not (place / f"fault-{fault}").exists()


def test_a_runner_that_is_not_there_is_named(place, capsys):
    words = [word for name, value in ASKED.items() if name not in ("model", "features") for word in _words(name, value)]
    asked = ["intervene", "planted", "--features", ASKED["features"][0], *words]
    assert run([*asked, "--runner", "slurm", "--out", "r"]) == 3
    said = capsys.readouterr().err
    assert "no runner 'slurm'" in said and "--workers N" in said
    with pytest.raises(UserError, match="hands out all parts"):
        go("intervene", out="r", **ASKED, runner="theirs", shard="1/2")


def _words(name: str, value: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}"]
