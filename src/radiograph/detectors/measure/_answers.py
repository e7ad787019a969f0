"""What both models answer to the suite, and what follows: differences, flips, divergence.

1. both models answer the same token ids in the same batches, greedily (or with the suite's seeds)
2. every answer is checked; a flip is an item whose checks pass in exactly one model
3. KL over prompt and the reference's greedy answer, per item; over the neutral bank
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from radiograph.core import Progress, Refusal, derive
from radiograph.detectors._measured import NeutralText, distinct, mean_kl
from radiograph.detectors.measure._banks import Banks, ids_sha256
from radiograph.detectors.measure._checks import Oracle, evaluate, is_refusal, passed
from radiograph.detectors.measure._divergence import Divergence, divergence
from radiograph.evidence import Behaviour, CheckResult, Item, Prompt, Response
from radiograph.models import Generated, LanguageModel, Pair, Sampling, cross_entropy, generate, log_probs, pad
from radiograph.numerics import TextLosses

Side = Literal["reference", "candidate"]
SIDES: tuple[Side, Side] = get_args(Side)


def sides(pair: Pair) -> dict[Side, LanguageModel]:
    """Both models by role, the reference first."""
    return {"reference": pair.reference, "candidate": pair.candidate}


def measure_neutral(pair: Pair, banks: Banks) -> NeutralText:
    """KL and summed losses of every neutral text.

    Raises:
        Refusal: the tokenisers differ, or there is no neutral bank.
    """
    pair.check_tokenizers()
    texts = [ids for ids in banks.neutral_tokens if len(ids) > 1]
    if not texts:
        raise Refusal("no_neutral_bank", "there is no neutral text", fix="pass --neutral FILE, one text a line")
    sums = [
        np.array([float(nats.double().sum()) for nats in cross_entropy(model, texts)]) for model in sides(pair).values()
    ]
    losses = TextLosses(sums[0], sums[1], np.array([len(ids) - 1 for ids in texts]))
    return NeutralText(np.array(divergence(pair, texts).mean), losses)


def measure_behaviour(
    pair: Pair, banks: Banks, neutral: NeutralText | None, oracle: Oracle | None, seed: int, progress: Progress
) -> Behaviour:
    """Answer, check and compare.

    Raises:
        Refusal: the tokenisers differ, so no prompt is the same for both.
    """
    pair.check_tokenizers()
    prompts = banks.prompts
    answers: dict[Side, list[list[Generated]]] = {}
    with progress.task("answering", total=2 * len(_seeds(banks, seed))) as task:
        for side, model in sides(pair).items():
            answers[side] = []
            for one in _seeds(banks, seed):
                answers[side].append(_generate(model, banks, one))
                task.advance()
    choices = _choices(pair, banks)
    with progress.task("comparing distributions"):
        spoken = [(*ids, *answer.ids) for ids, answer in zip(banks.tokens, answers["reference"][0], strict=True)]
        suite = divergence(pair, spoken)
    items = tuple(_item(index, prompt, banks, answers, choices, suite, oracle) for index, prompt in enumerate(prompts))
    return Behaviour(
        n=len(items),
        changed=sum(not item.same_text for item in items),
        flips=sum(item.flip for item in items),
        items=items,
        kl_neutral=None if neutral is None else mean_kl(neutral.kl_mean, seed),
        kl_suite=mean_kl(np.array([item.kl_mean for item in distinct(items)]), seed),
        truncated=banks.n_cut,
        chat=banks.chat,
    )


def _seeds(banks: Banks, seed: int) -> list[Sampling | None]:
    settings = banks.suite.generation
    if not settings.do_sample:
        return [None]
    return [Sampling(derive(seed, "answers", s), settings.temperature, settings.top_p) for s in settings.seeds]


def _generate(model: LanguageModel, banks: Banks, sampling: Sampling | None) -> list[Generated]:
    return generate(model, banks.tokens, max_new_tokens=banks.suite.generation.max_new_tokens, sampling=sampling)


def _item(
    index: int,
    prompt: Prompt,
    banks: Banks,
    answers: dict[Side, list[list[Generated]]],
    choices: dict[tuple[int, int, Side], CheckResult],
    suite: Divergence,
    oracle: Oracle | None,
) -> Item:
    responses: list[Response] = []
    for run in range(len(answers["reference"])):
        for side in SIDES:
            generated = answers[side][run][index]
            text = (generated.text or "").strip()
            results: tuple[CheckResult, ...] = tuple(
                choices.get((index, number, side), evaluate(check, text, prompt.messages, oracle))
                for number, check in enumerate(prompt.expect)
            )
            responses.append(
                Response(
                    model=side,
                    text=text,
                    prompt_tokens=generated.n_prompt,
                    completion_tokens=generated.n_tokens,
                    total_tokens=generated.n_prompt + generated.n_tokens,
                    finish=generated.finish,
                    checks=results,
                    passed=passed(results),
                    refusal=is_refusal(text),
                )
            )
    reference, candidate = responses[0], responses[1]
    return Item(
        id=prompt.id,
        bank=prompt.bank,
        task=prompt.task,
        group=prompt.group,
        format=prompt.format,
        factors=prompt.factors,
        prompt_used=prompt.messages,
        token_ids_sha256=ids_sha256(banks.rendered[index].ids),
        truncated=banks.rendered[index].n_cut,
        responses=tuple(responses),
        kl_mean=suite.mean[index],
        kl_max=suite.largest[index],
        same_text=reference.text == candidate.text,
        flip=None not in (reference.passed, candidate.passed) and reference.passed != candidate.passed,
    )


def _choices(pair: Pair, banks: Banks) -> dict[tuple[int, int, Side], CheckResult]:
    """`choice` checks: the option with the largest summed log-probability after the prompt must be the answer."""
    wanted = [
        (index, number, check)
        for index, prompt in enumerate(banks.prompts)
        for number, check in enumerate(prompt.expect)
        if check.kind == "choice"
    ]
    found: dict[tuple[int, int, Side], CheckResult] = {}
    tokenizer = pair.reference.tokenizer
    if tokenizer is None:
        return found
    for index, number, check in wanted:
        prefix = banks.tokens[index]
        options = [tuple(tokenizer(o, add_special_tokens=False)["input_ids"]) for o in check.options]
        for side, model in sides(pair).items():
            scores = _continuations(model, prefix, options)
            right = check.options[int(np.argmax(scores))] == check.answer
            found[index, number, side] = "pass" if right else "fail"
    return found


def _continuations(model: LanguageModel, prefix: Sequence[int], options: list[tuple[int, ...]]) -> list[float]:
    sequences = [(*prefix, *option) for option in options]
    scores = [0.0] * len(options)
    for batch, values in log_probs(model, sequences):
        for place, row in enumerate(batch.rows):
            start = len(prefix) - 1
            targets = pad([options[row]]).ids[0]
            steps = values[place, start : start + len(options[row])]
            scores[row] = float(steps.gather(-1, targets[:, None].to(steps.device)).sum())
    return scores
