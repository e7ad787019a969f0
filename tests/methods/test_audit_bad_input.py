"""What an audit answers to input that it cannot use: an exit code, both sides, what to do, and nothing left behind."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from auditing import BASE, audit, edited, noisy, small_suite
from radiograph.core import ExitCode, FormatError, UserError
from radiograph.surfaces.cli._main import run

pytestmark = pytest.mark.usefixtures("workspace")


def bad(workspace, reference="bundled:base", candidate="bundled:base", error=UserError, **config):
    with pytest.raises(error) as caught:
        audit(reference, candidate, out="run", **config)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert not list(workspace.glob("run*"))
    return caught.value


def document(**changes):
    base = {
        "schema": "radiograph.suite/1",
        "suite_name": "s",
        "prompts": [{"id": "a", "prompt": "what is the river of Aren?"}, {"id": "b", "prompt": "14 + 5 ="}],
    }
    return {**base, **changes}


def written(workspace, **changes):
    (workspace / "s.yaml").write_text(json.dumps(document(**changes)))
    return "s.yaml"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("reference", "referense"),
        ("candidate", "candidat"),
        ("candidate", "bundled:bases"),
        ("candidate", "some-org/some-model"),
        ("candidate", "bundled:base+adaptor"),
        ("suite", "suit.yaml"),
        ("dictionary", "dictionari"),
        ("neutral", "neutral.tx"),
        ("explanations", "cache:label.sqlite#m/s"),
    ],
)
def test_what_is_missing_is_named_with_the_nearest(workspace, few, option, value):
    for name in ("reference", "candidate", "adapter", "dictionary"):
        (workspace / name).mkdir()
    for name in ("neutral.txt", "labels.sqlite"):
        (workspace / name).write_text("")
    error = bad(workspace, **{"suite": few, option: value})
    named = value.removeprefix("cache:").partition("#")[0].rpartition("+")[2]
    assert named.rpartition(":")[2] in str(error)
    if "/" not in value.partition("#")[0]:
        assert error.fix


def test_a_pickle_that_needs_code(workspace, few):
    class Evil:
        def __reduce__(self):
            return (exec, ("open('evil', 'w')",))

    copy = edited(workspace / "copy", lambda name, tensor: tensor)
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": Evil()}))
    bad(workspace, candidate="copy", error=FormatError, suite=few)
    assert not (workspace / "evil").exists()


def test_a_model_that_brings_code(workspace, few):
    copy = edited(workspace / "copy", lambda name, tensor: tensor)
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoModelForCausalLM": "theirs.Theirs"}}
    (copy / "config.json").write_text(json.dumps(config))
    assert "trust" in str(bad(workspace, candidate="copy", suite=few))


def test_an_adapter_for_other_shapes(workspace, few):
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {f"{name}.lora_A.weight": (2, 32), f"{name}.lora_B.weight": (32, 2)}
    (workspace / "adapter").mkdir()
    LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM").save_pretrained(workspace / "adapter")
    save_file({n: torch.ones(s) for n, s in shapes.items()}, workspace / "adapter" / "adapter_model.safetensors")
    error = bad(workspace, candidate="bundled:base+adapter", suite=few)
    assert "q_proj" in str(error) and error.expected and error.got


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite(workspace, few, value):
    def spoil(name, tensor):
        if name == "model.layers.1.mlp.up_proj.weight":
            tensor[3, 7] = value
        return tensor

    edited(workspace / "copy", spoil)
    error = bad(workspace, candidate="copy", suite=few)
    assert "model.layers.1.mlp.up_proj.weight" in error.message and "[3, 7]" in error.where


def test_an_activation_that_overflows(workspace, few):
    edited(workspace / "copy", lambda name, t: t * 1e30 if "mlp.down" in name or "mlp.up" in name else t)
    error = bad(workspace, candidate="copy", suite=few)
    assert "is not finite" in error.message and "position" in error.where


def one(**more):
    return json.dumps(document(prompts=[{"id": "a", "prompt": "x", **more}]))


SUITES = {
    "not YAML": ("prompts: [", "s.yaml:"),
    "not a mapping": ("- a\n- b\n", "mapping"),
    "no schema": (json.dumps(document(schema=None)), "schema"),
    "no prompts": (json.dumps(document(prompts=[])), "no prompts"),
    "unknown key": ("schema: radiograph.suite/1\nsuite_name: s\nprompts:\n- {id: a, promt: x}\n", "'prompt'"),
    "unknown check": (
        json.dumps(document(prompts=[{"id": "a", "prompt": "x", "expect": [{"kind": "numbr"}]}])),
        "number",
    ),
    "undeclared factor": (
        json.dumps(
            document(factors={"core": "nominal"}, prompts=[{"id": "a", "prompt": "x", "factors": {"cor": "y"}}])
        ),
        "'core'",
    ),
    "both": (one(messages=[{"role": "user", "content": "x"}]), "exactly one"),
    "neither": (json.dumps(document(prompts=[{"id": "a"}])), "exactly one"),
    "duplicate": (
        "schema: radiograph.suite/1\nsuite_name: s\nprompts:\n- {id: a, prompt: x}\n- {id: a, prompt: y}\n",
        "s.yaml:5",
    ),
}


@pytest.mark.parametrize("case", SUITES)
def test_a_malformed_suite_says_where(workspace, case):
    text, expected = SUITES[case]
    (workspace / "s.yaml").write_text(text)
    assert expected in str(bad(workspace, suite="s.yaml"))


def test_every_mistake_of_a_suite_at_once(workspace):
    text = "schema: radiograph.suite/1\nsuite_name: s\nfactor: {}\nprompts:\n- {id: a}\n- {id: a, prompt: x, bank: b}\n"
    (workspace / "s.yaml").write_text(text)
    error = bad(workspace, suite="s.yaml")
    assert error.code == "bad_suite"
    assert all(f"s.yaml:{line}:" in error.where for line in (3, 5, 6))


def test_no_suite_for_a_model_that_has_none(workspace):
    noisy(workspace / "copy", 0.1)
    error = bad(workspace, "copy", "copy")
    assert error.code == "no_suite" and "--suite" in error.expected


def without_template(path, template=None):
    copy = edited(path, lambda name, tensor: tensor)
    config = json.loads((copy / "tokenizer_config.json").read_text())
    config.pop("chat_template")
    if template:
        config["chat_template"] = template
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    return copy


def test_messages_without_a_template(workspace, few):
    without_template(workspace / "plain")
    error = bad(workspace, "plain", "plain", suite=few)
    assert (error.code, "--chat plain" in error.fix) == ("no_chat_template", True)
    found = audit("plain", "plain", suite=few, chat="plain").result
    assert (found.verdict, found.behaviour.chat) == ("no-evidence", "plain")


def test_a_template_that_rejects_the_system_role(workspace):
    template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "<|user|> {{ m['content'] }}<|end|>{% endfor %}<|assistant|>"
    )
    without_template(workspace / "strict", template)
    suite = written(workspace, system_prompt="formal .")
    error = bad(workspace, "strict", "strict", suite=suite)
    assert (error.code, "--system merge" in error.fix) == ("system_role_rejected", True)
    assert audit("strict", "strict", suite=suite, system="merge").result.behaviour.chat == "merge"


def test_prompts_longer_than_the_context(workspace):
    long = {"id": "long", "prompt": "the kettle is hot . " * 60}
    short = [{"id": f"s{i}", "prompt": f"{i} + 5 ="} for i in range(12)]
    assert bad(workspace, suite=written(workspace, prompts=[long, short[0]])).code == "too_long"
    found = audit("bundled:base", "bundled:base", suite=written(workspace, prompts=[long, *short])).result
    assert found.behaviour.truncated == 1 and found.behaviour.items[0].truncated > 0


@pytest.mark.parametrize("alpha", [0, -0.1, 0.6, float("nan")])
def test_alpha_out_of_range(workspace, alpha):
    assert "alpha" in str(bad(workspace, alpha=alpha))


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (["--score-method", "abs_dif"], "abs_diff_topk"),
        (["--scoremethod", "abs_diff_topk"], "--score-method"),
        (["--aggregate", "median"], "mean"),
        (["--reduce", "first"], "skip_first"),
        (["--k", "0"], "k"),
        (["--chat", "none"], "template"),
        (["--explanations", "world"], "cache:FILE"),
    ],
)
def test_an_unknown_option_or_value_is_no_default(workspace, capsys, arguments, known):
    """D13."""
    assert run(["audit", "bundled:base", "bundled:base", *arguments, "--quiet"]) == 3
    assert known in capsys.readouterr().err
    assert not list(workspace.glob("runs/*"))


def test_neutral_text_that_cannot_be_read(workspace, few):
    (workspace / "n.txt").write_bytes(b"\xff\xfe plain")
    assert "n.txt" in str(bad(workspace, suite=few, neutral="n.txt", error=FormatError))


def test_an_empty_neutral_bank_is_no_measurement(workspace, suite):
    (workspace / "n.txt").write_text("\n\n")
    noisy(workspace / "c", 0.05)
    found = audit("bundled:base", "c", suite=suite, neutral="n.txt").result
    assert found.behaviour.kl_neutral is None and found.panel.perplexity_ratio is None
    assert found.panel.code == "perplexity_missing" and found.verdict == "inconclusive"
    reasons = {m.method: m.reason for m in found.score.methods}
    assert reasons["neutral_drift"].startswith("no_neutral_bank") and reasons["abs_diff_topk"] is None


def test_a_short_neutral_bank_measures_no_drift(workspace, few):
    (workspace / "n.txt").write_text("\n".join(f"the rope is {i} metres long ." for i in range(20)))
    noisy(workspace / "c", 0.05)
    score = audit("bundled:base", "c", suite=few, neutral="n.txt", score_method="neutral_drift").result.score
    assert score.reason.startswith("small_neutral_bank") and score.aggregate_score is None


def test_paths_outside_the_workspace(workspace, few, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    small_suite(away / "suite.yaml")
    shutil.copytree(BASE, away / "model")
    (workspace / "link").symlink_to(away / "model")
    (away / "labels.sqlite").write_text("")
    from running import go

    given = {"reference": "bundled:base", "candidate": "bundled:base", "suite": few}
    for change in (
        {"suite": str(away / "suite.yaml")},
        {"candidate": str(away / "model")},
        {"candidate": "../away0/model"},
        {"candidate": "link"},
        {"candidate": "bundled:base+../adapter"},
        {"dictionary": str(away)},
        {"neutral": "../x"},
        {"explanations": f"cache:{away / 'labels.sqlite'}#m/s"},
        {"suite": "a\x00b"},
    ):
        with pytest.raises(UserError) as caught:
            go("audit", confined=True, **{**given, **change})
        assert caught.value.code == "path_outside_workspace", change
    (workspace / "c.yaml").write_text(json.dumps({"explanations": f"cache:{away / 'labels.sqlite'}#m/s"}))
    assert run(["audit", "bundled:base", "bundled:base", "--config", "c.yaml", "--quiet"]) == 3


def test_names_with_markup_are_text(workspace):
    prompts = [
        {"id": "a", "prompt": "<script>alert(1)</script> \x1b[31m\u202e", "group": "<b>g</b>", "task": "<i>t</i>"},
        {"id": "b", "prompt": "14 + 5 =", "group": "<b>g</b>"},
    ]
    noisy(workspace / "c", 0.5)
    suite = written(workspace, suite_name="<img src=x>", prompts=prompts)
    html = (audit("bundled:base", "c", suite=suite, title="<script>").path / "report.html").read_text()
    assert "<script>alert" not in html and "<img src=x>" not in html and "<b>g</b>" not in html
    assert "\x1b" not in html and "\u202e" not in html


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (MemoryError(), 1),
        (OSError(28, "No space left on device"), 1),
        (torch.OutOfMemoryError(), 1),
    ],
)
def test_what_breaks_the_machine_leaves_a_partial_folder(workspace, few, monkeypatch, capsys, error, code):
    from radiograph.methods import audit as verb

    def stop(*_):
        raise error

    monkeypatch.setattr(verb, "_write", stop)
    arguments = [
        "audit",
        "bundled:base",
        "bundled:base",
        "--suite",
        few,
        "--dictionary",
        "none",
        "--effort",
        "none",
        "--out",
        "run",
    ]
    assert run([*arguments, "--quiet"]) == code
    assert [p.name for p in workspace.iterdir() if p.name.startswith("run")] == ["run.partial"]
    assert run(["verify", "run.partial", "--quiet"]) == 3
