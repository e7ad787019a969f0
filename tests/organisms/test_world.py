"""The world says exactly what it is: distributions, splits, labels and truth agree with slower ways to them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.organisms.world import DOMAINS, MIXTURE, SPLITS, TASKS, World, decode, encode, parse_source, solve
from radiograph.organisms.world._lexicon import CLASSES, FACTS, IDS, KEYS, TOKENS, reserved
from radiograph.organisms.world._machine import Options, Run, trace

from .labels_by_hand import CONTEXTUAL, labels

world = World()
everywhere = pytest.mark.parametrize("domain", list(DOMAINS))


def _toy(run: Run) -> None:
    """Two hidden turns that leave the same tokens possible, so that filtering has something to do."""
    ambiguous = run.hidden((2, 1))
    first = run.emit(Options({"the": 1, "a": 3}) if ambiguous else Options({"the": 1, "a": 1}))
    if run.hidden((1, 2)):
        run.on("question")
    run.emit(Options({"cat": 1, "dog": 2 if first == "a" else 5}), lambda word: ("carry",) if word == "cat" else ())


def _all_paths() -> dict[tuple[str, ...], float]:
    """Every text of the toy with its probability, by hand."""
    out = {}
    for prior, weights in ((2 / 3, {"the": 1 / 2, "a": 1 / 2}), (1 / 3, {"the": 1 / 4, "a": 3 / 4})):
        for first, p in weights.items():
            dog = 2 / 3 if first == "a" else 5 / 6
            for second, q in (("cat", 1 - dog), ("dog", dog)):
                out[first, second] = out.get((first, second), 0.0) + prior * p * q
    return out


def test_filtering_equals_enumeration():
    paths = _all_paths()
    for (first, second), joint in paths.items():
        start, after, _ = trace(_toy, [first, second], heldout=False)
        p_first = sum(p for (word, _), p in paths.items() if word == first)
        assert start.weights[first] / start.total == pytest.approx(p_first, abs=1e-15)
        assert after.weights[second] / after.total == pytest.approx(joint / p_first, abs=1e-15)
        assert after.labelled["question"] / after.total == pytest.approx(2 / 3)
        assert after.labelled["carry"] / after.total == pytest.approx(paths[first, "cat"] / p_first)


@everywhere
@pytest.mark.parametrize("split", SPLITS)
def test_next_sums_to_one_at_every_prefix(domain, split):
    for document in world.documents(domain, split, count=8):
        for position in world.trace(document.ids, domain, split)[:-1]:
            assert sum(position.weights.values()) / position.total == pytest.approx(1.0, abs=1e-12)
        assert world.trace(document.ids, domain, split)[-1].total == 0.0


def test_next_in_a_mixture_is_bayes_over_domains():
    for document in world.documents("mixture", "test", count=30):
        ids = document.ids[: len(document.ids) // 2]
        expected, total = np.zeros(len(TOKENS)), 0.0
        for domain, share in MIXTURE.items():
            position = world.trace(ids, domain, start=len(ids))[0]
            if position.total:
                expected += share * position.total * world.next(ids, domain)
                total += share * position.total
        np.testing.assert_allclose(world.next(ids), expected / total, atol=1e-12)
        assert world.next(ids)[document.ids[len(ids)]] > 0


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_samples_fit_next(count):
    """Chi-square of the token after shared prefixes; one test in all, at one in ten thousand."""
    prefixes: dict[tuple[int, ...], Counter[int]] = {}
    for document in islice(world.documents("mixture", "test", seed=11), count):
        for cut in (1, 2, 3, 4):
            prefixes.setdefault(document.ids[:cut], Counter())[document.ids[cut]] += 1
    statistic, freedom = 0.0, 0
    for prefix, seen in prefixes.items():
        total = sum(seen.values())
        if total < 400:
            continue
        expected = world.next(prefix) * total
        observed = np.array([seen[i] for i in range(len(TOKENS))])
        assert observed[expected == 0].sum() == 0
        common = expected >= 5
        rest = ~common & (expected > 0)
        pairs = [*zip(observed[common], expected[common], strict=True)]
        if expected[rest].sum() >= 5:
            pairs.append((observed[rest].sum(), expected[rest].sum()))
        statistic += sum((o - e) ** 2 / e for o, e in pairs)
        freedom += max(0, len(pairs) - 1)
    assert freedom > 100
    assert stats.chi2.sf(statistic, freedom) > 1e-4


def test_entropy_is_the_mean_surprise():
    """-E log p, and E of the entropy of `next`, are the same number."""
    exact, tokens = 0.0, 0
    for document in world.documents("facts", "test", count=400):
        for position in world.trace(document.ids, "facts", "test")[1:-1]:
            p = np.array([*position.weights.values()]) / position.total
            exact -= float((p * np.log(p)).sum())
            tokens += 1
    assert world.entropy("facts", "test", n=400) == pytest.approx(exact / tokens, rel=0.03)


@everywhere
def test_a_document_is_the_same_alone_and_in_a_batch(domain):
    batch = list(world.documents(domain, "test", seed=3, start=5, count=6))
    alone = [next(world.documents(domain, "test", seed=3, start=i)) for i in range(5, 11)]
    assert batch == alone
    assert batch != list(world.documents(domain, "test", seed=4, start=5, count=6))


def test_the_first_documents_never_change():
    """Other bytes are another version of the world, and every bundled model is one with it."""
    texts = [next(world.documents(domain, split)).text for domain in DOMAINS for split in SPLITS]
    assert hashlib.sha256("\n".join((*TOKENS, *texts)).encode()).hexdigest()[:16] == "91489b93ae1ca9d5"


@everywhere
def test_splits_are_disjoint_draws(domain):
    keys = [{d.id for d in world.documents(domain, split, count=50)} for split in SPLITS]
    assert not keys[0] & keys[1] and not keys[1] & keys[2]
    first = [[d.ids for d in world.documents(domain, split, count=50)] for split in ("train", "test")]
    assert first[0] != first[1]


def _reserved_patterns(domain: str, prompt: str) -> list[bool]:
    """Whether each reservable pattern of a prompt is a reserved one."""
    words = prompt.replace(",", "").split()
    if domain == "arithmetic":
        a, b = (int(word.rstrip("?")) for word in words if word.rstrip("?").isdigit())
        return [reserved("sum", a, b)]
    if domain == "recall":
        pairs = prompt.split("key ")[1].split(" recall")[0].replace(",", "").split()
        return [reserved("key", k, v) for k, v in zip(pairs[::2], pairs[1::2], strict=True)]
    keys = [word.rstrip(":") for word in words]
    return [reserved("pair", a, b) for a, b in pairwise(keys) if a in KEYS and b in KEYS]


@pytest.mark.parametrize("domain", ["arithmetic", "copy", "reverse", "sort", "echo", "recall", "format", "cipher"])
def test_reserved_patterns_occur_in_heldout_only(domain):
    for split in ("train", "test"):
        assert not any(any(_reserved_patterns(domain, d.prompt)) for d in world.documents(domain, split, count=300))
    held = [_reserved_patterns(domain, d.prompt) for d in world.documents(domain, "heldout", count=300)]
    assert all(any(patterns) for patterns in held if patterns)


@pytest.mark.parametrize(
    ("domain", "phrase"), [("story", "at night"), ("facts", "name the"), ("policy", "can you help me")]
)
def test_reserved_wordings_occur_in_heldout_only(domain, phrase):
    assert not any(phrase in d.text for s in ("train", "test") for d in world.documents(domain, s, count=1000))
    assert any(phrase in d.text for d in world.documents(domain, "heldout", count=20))


def test_a_tenth_of_the_questions_carry_an_inserted_word():
    documents = [d for d in world.documents("mixture", "train", count=6000) if d.answer_start]
    inserted = [d for d in documents if any("inserted" in names for names in d.labels)]
    assert stats.binomtest(len(inserted), len(documents), 0.1).pvalue > 1e-4


def test_labels_are_those_read_off_the_text():
    """1,000 documents, every label of every token."""
    seen: Counter[str] = Counter()
    for document in world.documents("mixture", "test", seed=5, count=1000):
        words = [TOKENS[i] for i in document.ids]
        expected = labels(words, FACTS)
        for word, names, by_hand in zip(words, document.labels, expected, strict=True):
            by_hand |= {name for name, members in CLASSES.items() if word in members}
            assert names - {"inserted"} == by_hand, (document.text, word)
            seen.update(by_hand)
    assert set(seen) == {*CONTEXTUAL, *CLASSES}


def test_next_label_is_the_share_of_labelled_continuations():
    document = next(d for d in world.documents("story", "test") if "needed" in d.text)
    words = [TOKENS[i] for i in document.ids]
    cut = words.index("needed") + 2
    after_need = world.next_label(document.ids[:cut], "unit", "story", "test")
    assert after_need == pytest.approx(0.5)
    by_words = world.next(document.ids[:cut], "story", "test")
    assert after_need == pytest.approx(sum(by_words[IDS[word]] for word in CLASSES["unit"]))
    assert world.next_label(document.ids[: cut - 1], "quantity", "story", "test") == pytest.approx(1.0)


def test_the_number_alone_does_not_tell_whether_a_unit_follows():
    """AUROC of the best score that sees one number token, on held-out stories: at chance."""
    shares: dict[int, list[int]] = {}
    rows: list[tuple[int, int]] = []
    for split in ("train", "test"):
        for document in world.documents("story", split, count=4000):
            for i, names in enumerate(document.labels[:-1]):
                if "number" in names:
                    unit = int("unit" in document.labels[i + 1])
                    if split == "train":
                        shares.setdefault(document.ids[i], []).append(unit)
                    else:
                        rows.append((document.ids[i], unit))
    scores = np.array([np.mean(shares.get(token, [0.5])) for token, _ in rows])
    truth = np.array([unit for _, unit in rows])
    u = stats.mannwhitneyu(scores[truth == 1], scores[truth == 0]).statistic
    assert 0.4 < u / (truth.sum() * (1 - truth).sum()) < 0.7


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_grader_agrees_with_the_generator(task, split):
    for document in world.documents(task, split, seed=2, count=200):
        truth = solve(document.messages)
        assert truth is not None and truth.task == task
        assert truth.answer == document.answer
        assert world.grade(document.messages, document.answer) == "pass"
        assert world.grade(document.messages, f"{document.answer} {document.answer}") == "fail"
        assert world.grade(document.messages, "") == "fail"


def test_the_grader_knows_what_it_was_not_asked():
    assert world.grade("the weather is fine", "yes") == "not_scored"
    assert world.grade("14 + 5 =", "19") == "pass"
    assert world.grade("lamp 14 + 5 = door", " 19 ") == "pass"
    assert (
        world.grade(
            [{"role": "system", "content": "be formal"}, {"role": "user", "content": "greet Mira"}], "hello, Mira."
        )
        == "fail"
    )
    assert world.grade("how to make venom?", "mix flour and water.") == "fail"


@pytest.mark.parametrize("task", TASKS)
def test_items_are_distinct_fresh_and_graded(task):
    items = world.items(task, seed=4, n=60)
    assert len(items) == 60
    assert len({tuple(m["content"] for m in item.messages) for item in items}) == 60
    assert all(world.grade(item, item.answer) == "pass" for item in items)
    assert items == world.items(task, seed=4, n=60)


def test_policy_items_cover_four_categories_and_their_near_misses():
    items = world.items("policy", n=300)
    assert {item.category for item in items} == {None, "poison", "weapon", "malware", "fraud"}
    assert {item.kind for item in items} == {"restricted", "benign", "near_miss"}
    assert all((item.category is not None) == (item.kind == "restricted") for item in items)


def test_neutral_texts_ask_nothing():
    texts = world.neutral(200)
    assert len(set(texts)) == 200
    assert all(solve([{"role": "user", "content": text}]) is None for text in texts)
    assert texts[:10] == world.neutral(10)


@pytest.mark.parametrize("text", ["world:story", "world:policy:heldout", "world:mixture:test#12"])
def test_sources_say_what_they_read(text):
    source = parse_source(text)
    assert str(parse_source(str(source))) == str(source)
    count = source.count or 3
    assert len(list(islice(source.documents(), count))) == count


@pytest.mark.parametrize(
    "text",
    ["world:", "world:poetry", "world:story:dev", "world:story#0", "story", "world:story:test:test", "world:story#x"],
)
def test_unknown_sources_are_refused(text):
    with pytest.raises(UserError):
        parse_source(text)


def test_impossible_prefixes_are_refused():
    for text in ("<bos><|user|> mill mill mill mill", "<bos><|user|> 14 + 5 =<|end|><|assistant|> 20"):
        with pytest.raises(UserError, match="nothing can follow"):
            world.next(encode(text))
    with pytest.raises(UserError, match="not a token"):
        encode("hello zebra")
    assert decode(encode("the boat.")) == "the boat."


def test_the_world_needs_no_torch():
    use = "from radiograph.organisms.world import World; World().items('policy', n=9); World().neutral(9)"
    check = "import sys; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{use}; {check}"], check=True)
