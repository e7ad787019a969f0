"""README, CONTRIBUTING and guides say what is so: every path is there, every command runs as it says.

Commands are the lines that start with `$` in `console` blocks, run in order in one empty folder a document. A comment
`# exit N` (or `N or M`) after a command is the exit code that it promises; none is 0. A block of code whose first line
is `# NAME` is the file that later commands use.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from forked import fork

PROJECT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").glob("guides/*.md")),
    *sorted((PROJECT / "docs").glob("design/*.md")),
]
FENCE = re.compile(r"^```(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"\s+# exit (\d+)(?: or (\d+))?$")
PLACEHOLDER = re.compile(r"<[A-Za-z]|\.\.\.|…|\b(?:PATH|FILE|FOLDER|TODO|TBD|XXX|FIXME)\b")
SHELL = {"|", "||", "&&", ">", ">>", "2>", "<", ";", "&"}
MINUTES = {
    "blame",
    "bring-your-own-dictionary",
    "bring-your-own-model",
    "calibrate",
    "circuits",
    "cluster",
    "components",
    "decompose",
    "evaluate-a-dictionary",
    "explain",
    "feature-sources",
    "find-and-remove",
    "find-features",
    "first-audit",
    "hand-picked-neuron",
    "interference",
    "match-and-publish",
    "organisms",
    "plan",
    "probes",
    "report-card",
    "steer",
    "train-a-dictionary",
    "what-moved",
}
ELSEWHERE = ("make", "pip", "git")  # `.ci/run` runs the make targets; installing and cloning need a network


@dataclass(frozen=True)
class Command:
    """A line that a reader may type."""

    text: str
    exits: frozenset[int]


def name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def commands(text: str) -> list[Command]:
    found: list[Command] = []
    for kind, block in FENCE.findall(text):
        if kind in ("console", "sh", "bash", "shell"):
            for line in block.splitlines():
                if kind != "console" or line.startswith("$ "):
                    line = line.removeprefix("$ ")
                    promise = PROMISE.search(line)
                    exits = {int(n) for n in promise.groups() if n} if promise else {0}
                    found.append(Command(PROMISE.sub("", line), frozenset(exits)))
    return found


def files(text: str) -> dict[str, str]:
    blocks = (block for kind, block in FENCE.findall(text) if kind in ("python", "yaml", "toml"))
    named = ((re.match(r"# (\S+\.\w+)\n", block), block) for block in blocks)
    return {match[1]: block for match, block in named if match}


def paths(text: str) -> set[str]:
    """Relative links, and inline code that looks like a path of this project."""
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    included = set(re.findall(r"^```\{literalinclude\} (\S+)$", text, re.MULTILINE))
    prose = FENCE.sub("", text)
    code = set(
        re.findall(
            r"`((?:src|tests|docs|bench|\.ci)/[\w./-]+|(?:README|CONTRIBUTING|constraints|pyproject)\.\w+|Makefile|LICENSE)`",
            prose,
        )
    )
    return {p for p in links | included if p and "://" not in p} | {f"/{p}" for p in code}


def broken_paths(document: Path, text: str) -> list[str]:
    generated = "docs/verbs/"
    bases = {p: PROJECT / p[1:] if p.startswith("/") else document.parent / p for p in paths(text)}
    written = {f"/{n}" for n in files(text)}
    return sorted(
        p for p, target in bases.items() if not target.exists() and p not in written and generated not in str(target)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_path_is_there(document):
    assert broken_paths(document, document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_nothing_is_left_to_fill_in(document):
    text = document.read_text()
    assert [c.text for c in commands(text) if PLACEHOLDER.search(c.text)] == []
    prose = re.sub(r"<!--.*?-->", "", FENCE.sub("code", text), flags=re.DOTALL)
    assert re.findall(r"^(#+ .+)\n+(?=#|\Z)", prose, re.MULTILINE) == [], "a heading without text"
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX)\b", prose)


def run(command: Command, folder: Path) -> str:
    """What is wrong with a command, or nothing."""
    words = shlex.split(command.text)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        return "" if set(words[1:]) <= set(targets) else f"{command.text}: no such target"
    if words[0] in ELSEWHERE:
        return ""
    code, printed = (
        _forked(words, folder) if words[0] == "radiograph" and not SHELL & set(words) else _typed(command, folder)
    )
    if code in command.exits and "Traceback" not in printed:
        return ""
    return f"{command.text}: exit {code}, promised {sorted(command.exits)}\n{printed}"


def _forked(words: list[str], folder: Path) -> tuple[int, str]:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = fork(_radiograph, words, output=Path(file.name)).wait(300)
        return code, Path(file.name).read_text()


def _radiograph(words: list[str]) -> None:
    from radiograph.surfaces.cli import main

    sys.argv = words
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()


def _typed(command: Command, folder: Path) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command.text, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(d, id=name(d), marks=[pytest.mark.slow] * (d.stem in MINUTES))
        for d in DOCUMENTS
        if commands(d.read_text())
    ],
)
def test_every_command_runs(document, tmp_path):
    text = document.read_text()
    for file, content in files(text).items():
        (tmp_path / file).write_text(content)
    for command in commands(text):
        assert run(command, tmp_path) == ""


def test_readme_lists_every_verb():
    sys.path.insert(0, str(PROJECT / "docs" / "_ext"))
    from verb_pages import with_table

    text = (PROJECT / "README.md").read_text()
    assert text == with_table(text), "run `python docs/_ext/verb_pages.py`"


def test_architecture_names_every_package():
    text = (PROJECT / "docs/design/architecture.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert listed == {p.parent.name for p in (PROJECT / "src/radiograph").glob("*/__init__.py")}


def test_every_dependency_has_its_reason():
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    text = (PROJECT / "docs/design/dependencies.md").read_text()
    cells = "".join(map(" ".join, re.findall(r"^\|([^|]+)\|([^|]+)\|", text, re.MULTILINE)))
    named = set(re.findall(r"[\w-]+", cells))
    wanted = {re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in lines} - {"radiograph"}
    assert wanted - named == set()


def test_every_pin_satisfies_what_the_package_asks_for():
    import tomllib

    from packaging.requirements import Requirement

    lines = [x for x in (PROJECT / "constraints.txt").read_text().splitlines() if not x.startswith("#")]
    pins = {re.sub(r"[_.]", "-", k.lower()): v for k, v in (line.split("==") for line in lines)}
    assert list(pins) == sorted(pins)
    assert len(pins) == len(lines)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    for requirement in map(Requirement, lines):
        if requirement.name != "radiograph":
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
    assert "+" not in "".join(pins.values())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```console\n$ radiograph verify nothing\n```", "exit 3"),
        ("```console\n$ radiograph --version    # exit 2\n```", "promised [2]"),
        ("```console\n$ make nothing\n```", "no such target"),
        ("```console\n$ radiograph --version\n```", ""),
        ("```console\n$ radiograph verify nothing    # exit 2 or 3\n```", ""),
    ],
)
def test_command_check_can_fail(text, wrong, tmp_path):
    found = run(commands(text)[0], tmp_path)
    assert wrong in found
    assert bool(wrong) == bool(found)


def test_path_check_can_fail():
    text = "[a](nowhere.md) `src/radiograph/none.py` `Makefile` [b](LICENSE) ![c](docs/images/none.png)"
    assert broken_paths(PROJECT / "README.md", text) == [
        "/src/radiograph/none.py",
        "docs/images/none.png",
        "nowhere.md",
    ]
