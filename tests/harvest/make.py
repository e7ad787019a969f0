"""A tokenizer that adds BOS, and texts."""

from tokenizers.processors import TemplateProcessing

from models.make import tokenizer

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "sits", "down", "to", "read")


def with_bos():
    """The tests' tokenizer, with BOS before and EOS after every text."""
    made = tokenizer(merges=38)
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", made.bos_token_id), ("</s>", made.eos_token_id)]
    )
    return made


def sentences(n):
    """Texts of different lengths, all different."""
    return [
        " ".join(WORDS[(i * 7 + j * (1 + i % 3)) % len(WORDS)] for j in range(3 + i % 6)) + f" {i}" for i in range(n)
    ]
