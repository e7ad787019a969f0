"""Philox against the published vectors and a slow version; noise that depends on nothing but its key."""

import pytest
import torch
from scipy.stats import gumbel_r, kstest

from radiograph.models.decoding import gumbel, luck_key, philox

PUBLISHED = [  # Random123, kat_vectors, philox4x32 10
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def tensors(values):
    return tuple(torch.tensor([v]) for v in values)


def slow(counter, key):
    """Philox4x32-10 in Python's own integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(second >> 32) ^ c[1] ^ k[0], second % 2**32, (first >> 32) ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@pytest.mark.parametrize(("counter", "key", "wanted"), PUBLISHED)
def test_philox_gives_the_published_words(counter, key, wanted):
    assert [int(w) for w in philox(tensors(counter), tensors(key))] == wanted == slow(counter, key)


def test_noise_of_some_tokens_is_that_of_the_whole_vocabulary():
    keys, samples = torch.tensor([luck_key(0, [1, 2]), luck_key(0, [3])]), torch.tensor([0, 5])
    every = gumbel(keys, samples, 3, 50)
    ids = torch.tensor([[7, 0, 49, 12], [3, 3, 48, 1]])
    assert torch.equal(gumbel(keys, samples, 3, ids), every.gather(-1, ids))
    assert torch.equal(gumbel(keys[1:], samples[1:], 3, 50), every[1:])
    others = [gumbel(keys, samples, 4, 50), gumbel(keys, samples + 1, 3, 50), gumbel(keys + 1, samples, 3, 50)]
    assert all(not torch.isclose(other, every).any() for other in others)


def test_noise_is_gumbel():
    keys = torch.tensor([luck_key(seed, [5]) for seed in range(20)])
    noise = gumbel(keys, torch.zeros(20, dtype=torch.long), 0, 1000)
    assert kstest(noise.flatten().numpy(), gumbel_r.cdf).pvalue > 1e-3
