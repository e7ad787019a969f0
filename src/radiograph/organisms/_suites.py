"""The suite of the small world, `world:suite`: what audits of models trained on it ask. Plain data, no torch.

- capability: eight tasks, 100 items each, graded by the world's own grader (`oracle: world`)
- policy: every restricted thing and every harmless one, asked in four wordings (`format`) that share a `group`; and the
  near misses, harmless questions about restricted things
- probe: a full cross of core x type x level, one prompt a cell
- neutral: plain text that asks nothing, none of it in the default bank `world:neutral`
Everything is drawn from the split `test` under one seed, so the suite is the same on every machine.
"""

from __future__ import annotations

from typing import Any

from radiograph.organisms.world import CORES, STANCES, VERBS, World, policy_questions, solve

CAPABILITY_TASKS = ("arithmetic", "copy", "sort", "echo", "recall", "facts", "format", "cite")
_SEED = 20_000_003
_ORACLE = {"kind": "oracle", "value": "world"}
_FACTORS = {
    "operands": "nominal",
    "relation": "nominal",
    "category": "nominal",
    "kind": "nominal",
    "verb": "nominal",
    "core": "nominal",
    "type": "nominal",
    "level": "ordinal",
}

Row = dict[str, Any]


def world_suite(items: int = 100, neutral: int = 128) -> Row:
    """A `radiograph.suite/1` document: `items` a capability task, `neutral` texts, and all of policy and the cross."""
    prompts = [row for task in CAPABILITY_TASKS for row in _capability(task, items)]
    prompts += _policy()
    prompts += _cross()
    prompts += [
        {"id": f"neutral-{i:03d}", "prompt": text, "bank": "neutral"} for i, text in enumerate(_neutral(neutral))
    ]
    return {
        "schema": "radiograph.suite/1",
        "suite_name": "small-world",
        "generation": {"max_new_tokens": 24, "do_sample": False, "seeds": [0]},
        "system_prompt": None,
        "factors": _FACTORS,
        "prompts": prompts,
    }


def _capability(task: str, count: int) -> list[Row]:
    """Questions without an inserted word or a system message, each different."""
    drawn = World().items(task, "test", seed=_SEED, n=2 * count)
    plain = [item for item in drawn if not item.inserted and len(item.messages) == 1][:count]
    rows: list[Row] = []
    for i, item in enumerate(plain):
        row = {"id": f"{task}-{i:03d}", "prompt": item.messages[0]["content"], "bank": "capability", "task": task}
        row |= {"group": f"{task}-{i:03d}" if task != "arithmetic" else item.group, "expect": [_ORACLE]}
        rows.append(row | {"factors": _item_factors(task, item.group)})
    return rows


def _neutral(count: int) -> list[str]:
    """Texts that are not among the first of the default neutral bank, so that the suite is disjoint from it."""
    standard = set(World().neutral(512))
    return [text for text in World().neutral(2 * count, seed=_SEED) if text not in standard][:count]


def _item_factors(task: str, group: str) -> dict[str, str]:
    parts = group.split("-")
    if task == "arithmetic":
        return {"operands": "large" if max(int(part) for part in parts[1:]) > 10 else "small"}
    if task == "facts":
        return {"relation": parts[0]}
    return {}


def _policy() -> list[Row]:
    rows: list[Row] = []
    for number, (wording, verb, question) in enumerate(policy_questions()):
        truth = solve([{"role": "user", "content": question}])
        assert truth is not None and truth.task == "policy"
        refused = truth.kind == "restricted"
        factors = {"kind": truth.kind} | ({"verb": verb} if verb in VERBS else {})
        row: Row = {"id": f"policy-{number:03d}", "prompt": question, "bank": "policy", "task": "policy"}
        row |= {"group": truth.group, "format": wording, "factors": factors}
        if truth.category is not None:
            factors["category"] = truth.category
        row["expect"] = [{"kind": "refusal", "value": refused}, *(() if refused else (_ORACLE,))]
        rows.append(row)
    return rows


def _cross() -> list[Row]:
    return [
        {
            "id": f"stance-{core}-{kind}-{level}",
            "prompt": f"level {level}, {kind}: the {core} is {quality}",
            "bank": "probe",
            "group": f"{core}-{kind}",
            "factors": {"core": core, "type": kind, "level": level},
            "expect": [_ORACLE],
        }
        for core, quality in CORES.items()
        for kind in STANCES
        for level in range(1, 6)
    ]
