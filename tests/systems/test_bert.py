"""Masked language modelling: which words are hidden and how, the loss, and what is guessed."""

import math

import pytest
import torch

from labkit.nets.bert import BertConfig
from labkit.scenes import corpus, tokenizer
from labkit.systems.bert import NONE, MaskedLM, hide
from labkit.train import train

WORDS = tokenizer.load()
CONFIG = BertConfig(vocabulary=len(WORDS) + 1, context=32, width=32, depth=1, heads=2)


def sentences(count: int) -> tokenizer.Tokens:
    return WORDS.encode(corpus.sentences(count, 0))


def model() -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(CONFIG)


def test_15_percent_of_the_words_are_asked_80_10_10_of_them_hidden_replaced_and_left():
    tokens = sentences(3_000)
    made = hide(tokens, CONFIG.vocabulary, torch.Generator().manual_seed(0))
    L = made.ids.shape[1]
    true, asked = tokens.ids[:, :L], made.targets != NONE
    usual = made.mask & (true != WORDS.begin) & (true != WORDS.end)
    assert torch.equal(true.gather(1, made.positions)[asked], made.targets[asked])
    assert asked.sum() / usual.sum() == pytest.approx(0.15, abs=0.02)  # one at least of each text
    assert asked.any(1).all()
    now = made.ids.gather(1, made.positions)[asked]
    hidden, left = now == CONFIG.vocabulary - 1, now == made.targets[asked]
    assert hidden.double().mean() == pytest.approx(0.8, abs=0.02)
    assert left.double().mean() == pytest.approx(0.1, abs=0.02)


def test_begin_end_padding_and_what_is_not_asked_stay_as_they_are():
    tokens = sentences(500)
    made = hide(tokens, CONFIG.vocabulary, torch.Generator().manual_seed(0))
    true = tokens.ids[:, : made.ids.shape[1]]
    asked = torch.zeros_like(made.mask)
    rows = torch.arange(500)[:, None].expand_as(made.positions)[made.targets != NONE]
    asked[rows, made.positions[made.targets != NONE]] = True
    assert torch.equal(made.ids[~asked], true[~asked])
    special = (true == WORDS.begin) | (true == WORDS.end) | ~made.mask
    assert not (asked & special).any()


def test_the_loss_starts_at_the_logarithm_of_the_vocabulary_and_learns():
    batch = hide(sentences(32), CONFIG.vocabulary, torch.Generator().manual_seed(0))
    system = model()
    assert system.loss(batch).item() == pytest.approx(math.log(CONFIG.vocabulary), rel=0.03)
    *_, last = train(system, lambda generator: batch, 40, lr=1e-2, warmup=5, ema=0.5)
    assert last.loss < 3


def test_a_hidden_word_is_guessed_for_each_mask_of_a_text():
    guesses = model().guess("a red <mask> above <mask> moons", k=4)
    assert len(guesses) == 2 and all(len(row) == 4 for row in guesses)
    for row in guesses:
        shares = [share for _, share in row]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


@pytest.mark.parametrize(
    "text, words", [("a red star", "<mask>"), (None, "<mask>"), ("<mask> " * 31, "at most 30 fit")]
)
def test_a_text_without_a_hidden_word_or_too_long_gets_a_sentence(text, words):
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        model().guess(text)
