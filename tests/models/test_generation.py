"""Greedy ids equal Hugging Face's, batches equal single rows, samples depend on (seed, row) alone."""

import pytest
import torch

from radiograph.core import Site, UserError
from radiograph.models import Sampling, current_batch, edit, forward, generate, pad, stop_ids, wrap

from . import make

PROMPTS = make.prompts(6)
NEW = 14


def reference(model, ids, **options):
    settings = {"do_sample": False, "max_new_tokens": NEW, **options}
    out = model.model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), **settings
    )
    return tuple(out[0, len(ids) :].tolist())


def test_greedy_ids_equal_hugging_face_row_by_row(model):
    for ids, made in zip(PROMPTS, generate(model, PROMPTS, max_new_tokens=NEW), strict=True):
        assert made.ids == reference(model, ids)
        assert made.n_prompt == len(ids)


def test_rows_do_not_depend_on_their_batch(model):
    wanted = [made.ids for made in generate(model, PROMPTS, max_new_tokens=NEW)]
    for options in ({"batch_rows": 1}, {"batch_rows": 4}, {"batch_tokens": 20}):
        assert [made.ids for made in generate(model, PROMPTS, max_new_tokens=NEW, **options)] == wanted
    assert [made.ids for made in generate(model, PROMPTS[::-1], max_new_tokens=NEW)][::-1] == wanted


def test_stop_tokens_end_a_row_while_the_others_go_on(model):
    free = [made.ids for made in generate(model, PROMPTS, max_new_tokens=NEW, stop=[])]
    # Stop at ids that the rows reach at different steps, so that the batch shrinks while it runs.
    stops = {ids[2 * i % NEW] for i, ids in enumerate(free)}
    for ids, made in zip(free, generate(model, PROMPTS, max_new_tokens=NEW, stop=sorted(stops)), strict=True):
        end = next((i + 1 for i, token in enumerate(ids) if token in stops), NEW)
        assert made.ids == ids[:end]
        assert made.finish == ("stop" if ids[end - 1] in stops else "length")


def test_stop_ids_come_from_config_and_tokenizer(llama):
    assert stop_ids(llama) == (1,)
    many = wrap(make.network("llama", eos_token_id=[1, 7]), make.tokenizer(merges=38))
    assert stop_ids(many) == (1, 7)


def test_text_leaves_out_the_stop_token_and_finish_says_why(llama):
    (free,) = generate(llama, [[5, 6, 7]], max_new_tokens=6, stop=[])
    assert (free.finish, free.n_tokens, free.text) == (
        "length",
        6,
        llama.tokenizer.decode(free.ids, skip_special_tokens=True),
    )
    (stopped,) = generate(llama, [[5, 6, 7]], max_new_tokens=6, stop=[free.ids[0]])
    assert (stopped.finish, stopped.text, stopped.ids) == ("stop", "", free.ids[:1])
    (full,) = generate(llama, [[5] * 60], max_new_tokens=20, stop=[])
    assert (full.finish, full.n_tokens) == ("context", 4)
    (none,) = generate(llama, [[5] * 64], max_new_tokens=20)
    assert (none.finish, none.ids) == ("context", ())
    with pytest.raises(UserError, match="longer than the model's context"):
        generate(llama, [[5] * 65], max_new_tokens=1)
    assert generate(llama, [], max_new_tokens=3) == []


def test_samples_depend_on_seed_and_row_and_not_on_the_batch(llama):
    def sample(seed, **options):
        chosen = Sampling(seed, temperature=1.5, top_p=0.9)
        return [m.ids for m in generate(llama, PROMPTS, max_new_tokens=8, sampling=chosen, stop=[], **options)]

    assert sample(1) == sample(1) == sample(1, batch_rows=1) == sample(1, batch_rows=4)
    assert sample(1) != sample(2)
    twice = generate(llama, [PROMPTS[0]] * 2, max_new_tokens=8, sampling=Sampling(1), stop=[])
    assert twice[0].ids != twice[1].ids
    narrow = generate(llama, PROMPTS, max_new_tokens=8, sampling=Sampling(1, top_p=1e-9), stop=[])
    assert [m.ids for m in narrow] == [m.ids for m in generate(llama, PROMPTS, max_new_tokens=8, stop=[])]


def test_samples_follow_the_models_probabilities(llama):
    with torch.no_grad():
        wanted = llama.model(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1)
    drawn = generate(llama, [PROMPTS[0]] * 2000, max_new_tokens=1, sampling=Sampling(3), stop=[])
    counts = torch.bincount(torch.tensor([m.ids[0] for m in drawn]), minlength=300) / 2000
    top = wanted.topk(10).indices
    assert (counts[top] - wanted[top]).abs().max() < 4 * (wanted.max() / 2000).sqrt()


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_sampling_is_refused(options):
    with pytest.raises(UserError, match="sampling needs"):
        Sampling(0, **options)


def test_generation_inside_an_edit_equals_a_loop_of_whole_forwards(model):
    direction = torch.randn(model.width, generator=torch.Generator().manual_seed(1)) * 3
    steps: list[tuple[int, ...]] = []

    def push(x):
        steps.append(current_batch().rows)
        return x + direction

    with edit(model, {Site("resid_post", 1): push}):
        made = generate(model, PROMPTS, max_new_tokens=5, stop=[])
        assert max(len(rows) for rows in steps) == len(PROMPTS)
        for ids, row in zip(PROMPTS, made, strict=True):
            whole = list(ids)
            for _ in range(5):
                whole.append(int(forward(model, pad([whole]))[0, -1].argmax()))
            assert list(row.ids) == whole[len(ids) :]
    assert [m.ids for m in made] != [m.ids for m in generate(model, PROMPTS, max_new_tokens=5, stop=[])]
