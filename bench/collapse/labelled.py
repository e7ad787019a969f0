"""Build the labelled set that comes with `collapse`, and fit its score.

1. healthy passages: neutral English and the prose of docs/, whole and cut in the middle   2. hard negatives: refrains,
poems, lists, tables, code, dialogue, sums   3. collapsed by construction: loops of many periods after a prefix, with
and without errors, counters and small changes; words shuffled, words drawn, letters drawn; runs of symbols
4. real outputs, labelled by the rubric of docs/design/collapse.md: kept as they are in the file
Rows made of one passage share a group, so that folds never split them. Half of the files of docs/ (and nothing that is
labelled) teach what letters and compression of healthy text are.

    python bench/collapse/labelled.py [--keep]     # --keep: fit anew on the file as it is
"""

from __future__ import annotations

import ast
import hashlib
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.numerics.repetition import Letters, healthy_ratios, pieces
from radiograph.store.collapse import Labelled, fit_labels, labelled_set, write_labelled, write_score

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = Path(__file__).with_name("written.txt")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYMBOLS = "!?.,;:-_=+*/\\|#@$%^&~<>()[]{}'\"`"


def prose(path: Path) -> list[str]:
    """Plain paragraphs of a Markdown file: no code, table, list or heading."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", text)]
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", block) for block in blocks]
    split = [part for block in plain for part in _halves(block)]
    return [b[:700] for b in split if len(b) > 120 and b[0].isalpha() and b.count("|") < 2 and "://" not in b]


def _halves(block: str) -> list[str]:
    """A long paragraph as two, parted at a sentence."""
    sentences = re.split(r"(?<=[.!?]) ", block)
    if len(block) < 420 or len(sentences) < 2:
        return [block]
    middle = len(sentences) // 2
    return [" ".join(sentences[:middle]), " ".join(sentences[middle:])]


def neutral() -> list[str]:
    """Five sentences at a time."""
    lines = (ROOT / "src/radiograph/organisms/bundled/neutral_english.txt").read_text("utf-8").splitlines()
    kept = [line for line in lines if line.strip()]
    return [" ".join(kept[i : i + 5]) for i in range(0, len(kept), 5)]


def sources() -> tuple[list[str], list[str]]:
    """Text that teaches letters, and text that is labelled."""
    taught, labelled = [], []
    for path in [*sorted((ROOT / "docs").glob("[dg][eu][si]*/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if path.name == "collapse.md":
            continue
        half = hashlib.sha256(path.name.encode()).digest()[0] % 2
        (taught if half else labelled).extend(prose(path))
    sentences = neutral()
    return taught + sentences[::2], labelled + sentences[1::2]


def code() -> list[str]:
    """Functions of this project."""
    found = []
    for path in sorted((ROOT / "src/radiograph").glob("n*/*.py")) + sorted((ROOT / "src/radiograph/core").glob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.parse(text).body:
            part = ast.get_source_segment(text, node)
            if isinstance(node, ast.FunctionDef) and part and 150 < len(part) < 900:
                found.append(part)
    return found[::3][:20]


def written() -> list[str]:
    """Refrains, poems, lists, dialogue: one per block of the file beside this one."""
    blocks = WRITTEN.read_text("utf-8").split("\n%%\n")
    return [block.strip("\n") for block in blocks if block.strip()]


def loops(rng: random.Random, passages: list[str]) -> Iterator[Labelled]:
    """Loops of 1 to 24 tokens after a prefix, exact, with errors, counting, or changing a word each time."""
    for number in range(100):
        i = rng.randrange(len(passages))
        tokens = re.findall(r"\s?\S+", passages[i])
        period = 1 + number % 24
        start = rng.randrange(max(1, len(tokens) - period))
        unit, prefix = tokens[start : start + period], tokens[: rng.choice([0, 3, 8, 15])]
        if rng.random() < 0.7 and period > 3:
            unit[-1] = unit[-1].rstrip(".,;:") + "."
        times = max(3, (60 if period < 15 else 90) // period)
        way = ("exact", "errors", "counting", "changing")[number % 4] if period > 4 else "exact"
        body: list[str] = []
        for turn in range(times):
            again = list(unit)
            if way == "errors" and rng.random() < 0.4:
                again[rng.randrange(len(again))] = " " + rng.choice(tokens).strip()
            if way == "counting":
                again[0] = f" {turn + 1}."
            if way == "changing":
                again[period // 2] = " " + rng.choice(("blue", "red", "old", "small", "warm", "new"))
            body += again
        text = "".join([*prefix, *body])[: rng.randrange(260, 420)]
        yield Labelled(text, True, f"loop:{way}:{period}", f"p{i}", "loop")


def salads(rng: random.Random, passages: list[str]) -> Iterator[Labelled]:
    """Words of a passage shuffled, words of all drawn, letters drawn."""
    every = [word for text in passages for word in text.split()]
    for number in range(60):
        i = rng.randrange(len(passages))
        words = passages[i].split()[:60]
        match number % 3:
            case 0:
                rng.shuffle(words)
                text, way = " ".join(words), "shuffled"
            case 1:
                text, way = " ".join(rng.choices(sorted(set(every)), k=rng.randrange(25, 60))), "drawn"
            case _:
                made = ["".join(rng.choices(LETTERS, k=rng.randrange(1, 9))) for _ in range(rng.randrange(15, 45))]
                text, way = " ".join(made), "letters"
        group = f"p{i}" if way == "shuffled" else f"salad{number}"
        yield Labelled(text, True, f"salad:{way}", group, "salad")


def symbols(rng: random.Random) -> Iterator[Labelled]:
    """Runs, mixtures and replacement characters."""
    for number in range(36):
        n = rng.randrange(20, 160)
        match number % 4:
            case 0:
                text, way = rng.choice(SYMBOLS) * n, "run"
            case 1:
                text, way = "".join(rng.choices(SYMBOLS, k=n)), "mixed"
            case 2:
                text, way = (
                    " ".join("".join(rng.choices(SYMBOLS, k=rng.randrange(1, 4))) for _ in range(n // 3)),
                    "marks",
                )
            case _:
                drawn = rng.choices("\ufffd\u0414\u6f22\u05d0 \u0416\u3042ab", k=n)
                text, way = "".join(drawn), "scripts"
        yield Labelled(text, True, f"symbols:{way}", f"symbols{number}", "symbols")


def negatives(rng: random.Random) -> Iterator[Labelled]:
    """What repeats and is fine: lists, tables, sums, code, and what was written for it."""
    things = [
        "rope",
        "lamp",
        "bread",
        "kettle",
        "map",
        "soap",
        "thread",
        "candle",
        "honey",
        "spade",
        "basket",
        "ink",
        "cloth",
        "nails",
        "salt",
        "flour",
    ]
    for number in range(12):
        some = rng.sample(things, 9)
        ways = (
            "\n".join(f"- {thing}: {rng.randrange(1, 40)} pieces" for thing in some),
            "\n".join(f"{k + 1}. Put the {thing} on the {rng.choice(things)} shelf." for k, thing in enumerate(some)),
            "name,count,price\n" + "\n".join(f"{t},{rng.randrange(9, 99)},{rng.randrange(1, 9)}.50" for t in some),
            "\n".join(f"{a} + {b} = {a + b}" for a, b in zip(range(3, 12), rng.sample(range(5, 60), 9), strict=False)),
        )
        yield Labelled(ways[number % 4], False, "hard:list", f"list{number}", None)
    for number, text in enumerate(code()):
        yield Labelled(text, False, "hard:code", f"code{number}", None)
    for number, text in enumerate(written()):
        yield Labelled(text, False, "hard:written", f"written{number}", None)


def constructed(passages: list[str]) -> Iterator[Labelled]:
    """Every row that no model made."""
    rng = random.Random(4)
    for i, text in enumerate(passages):
        yield Labelled(text, False, "healthy", f"p{i}", None)
        if i % 3 == 0:
            yield Labelled(text[: rng.randrange(60, 160)], False, "truncated", f"p{i}", None)
    yield from negatives(rng)
    yield from loops(rng, passages)
    yield from salads(rng, passages)
    yield from symbols(rng)


def main() -> None:
    """Build, fit, write."""
    taught, passages = sources()
    rows: list[Labelled] = labelled_set()
    if "--keep" not in sys.argv:
        rows = [*constructed(passages[:140]), *(row for row in rows if row.source.startswith("model:"))]
        write_labelled(rows)
    letters = Letters.fit([text for text in taught if len(pieces(text)) > 20])
    lengths = (32, 64, 128, 256, 512, 1024)
    score, found = fit_labels(rows, letters=letters, lengths=lengths, ratios=healthy_ratios(taught, lengths))
    write_score(score, found)
    report: dict[str, Any] = {k: v for k, v in found.items() if k != "reliability"}
    sys.stderr.write(f"{len(rows)} rows {report}\n{ {k: round(v, 2) for k, v in score.weights.items() if v} }\n")
    sys.stderr.write("\n".join(str(row) for row in found["reliability"]) + "\n")
    assert np.isfinite(list(score.weights.values())).all()


if __name__ == "__main__":
    main()
