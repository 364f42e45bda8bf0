"""T5 as a system: what it learns, what it says of texts, the blanks that it fills, the doors."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from labkit import model_file
from labkit.nets.t5 import T5Config
from labkit.recipes import imagen
from labkit.scenes import tokenizer
from labkit.systems.t5 import T5, Blanks, padded, shifted
from labkit.train import shuffled, train

CONFIG = T5Config(
    vocabulary=1025, width=32, hidden=48, depth=2, heads=2, head_width=16, decoder=1, sentinel=1024
)
STAR, DISC = "a red star", "a large blue disc on a mint background"


def reader(config: T5Config = CONFIG) -> T5:
    torch.manual_seed(0)
    return T5(config).eval()


def blanks(pairs, system: T5) -> Blanks:
    """Texts with blanks (<0>, <1>, …) and their fillings, as training gives them."""
    tok, rows = system.reads, ([], [])
    for pair in pairs:
        for words, found in zip(pair, rows, strict=True):
            ids = []
            for word in words.split():
                marked = word.startswith("<")
                ids += [1024 - int(word[1])] if marked else tok.pieces.encode(word).ids
            found.append([*ids, tok.end])
    texts, fillings = (padded(found, tok.pad) for found in rows)
    begun = F.pad(texts.ids, (1, 0), value=tok.begin), F.pad(texts.mask, (1, 0), value=True)
    return Blanks(*begun, fillings.ids)


def test_a_text_says_the_same_alone_and_in_company_and_nothing_behind_its_end():
    system = reader()
    both, alone = system.encode([STAR, DISC]), system.encode(STAR)
    assert both.tokens.shape == (2, 10, 32) and alone.tokens.shape == (1, 5, 32)
    assert torch.allclose(both.tokens[:1, :5], alone.tokens, atol=1e-5)
    assert both.mask.sum(1).tolist() == [5, 10] and not both.tokens[~both.mask].any()
    assert not both.tokens.requires_grad and both.vector is None
    mean = both.tokens[1].mean(0)
    assert torch.allclose(system.pooled([STAR, DISC])[1], mean, atol=1e-6)


def test_words_that_it_never_read_come_apart_and_are_read_all_the_same():
    assert reader().encode(["a red zebra"]).tokens.isfinite().all()


def test_the_loss_is_that_of_the_tokens_that_fill_the_blanks_padding_apart():
    system = reader()
    batch = blanks([("a <0> star", "<0> red"), ("<0>", "<0> a big blue moon")], system)
    text = system.net(batch.ids, batch.mask)
    log_p = system.net.next(shifted(batch.filling, 0), text, batch.mask).log_softmax(2)
    chosen = log_p.gather(2, batch.filling[..., None])[batch.filling != 0]
    assert len(chosen) == 3 + 6
    assert system.loss(batch).item() == pytest.approx(-chosen.mean().item(), rel=1e-5)


def test_the_decoder_is_shown_what_was_said_one_place_later():
    filling = torch.tensor([[1024, 7, 1008, 0]])
    assert shifted(filling, 0).tolist() == [[0, 1024, 7, 1008]]


def test_it_learns_what_fills_a_blank_from_what_stands_around_it():
    system = reader()
    pairs = [
        ("the <0> is red", "<0> cherry"), ("the <0> is blue", "<0> sea"),
        ("a <0> and <1>", "<0> star <1> moon"),
    ]  # fmt: skip
    batch = blanks(pairs, system)
    draw = shuffled(*batch, batch=3)
    list(train(system, lambda generator: Blanks(*draw(generator)), 60, lr=5e-3, warmup=5))
    system.eval()
    assert system.fill("the ___ is red") == "the cherry is red"
    assert system.fill("the ___ is blue") == "the sea is blue"
    assert system.fill("a ___ and ___") == "a star and moon"


def test_batches_of_the_corpus_hold_about_a_quarter_of_the_words_as_blanks(monkeypatch):
    monkeypatch.setattr(imagen, "SENTENCES", 2000)
    monkeypatch.setattr(imagen, "REWORDINGS", 800)
    batch = imagen.corpus_batches(batch=64)(torch.Generator().manual_seed(0))
    tok = tokenizer.load()
    assert (batch.ids[:, 0] == tok.begin).all()
    marks = batch.filling > tok.end
    assert marks.any(1).all() and (batch.filling[:, 0] == 1024).all()
    kept = ((batch.ids > 0) & (batch.ids < tok.begin)).sum().item()
    gone = ((batch.filling > 0) & (batch.filling < tok.begin)).sum().item()
    assert gone / (kept + gone) == pytest.approx(0.25, abs=0.04)
    lengths = batch.mask.sum(1)
    assert lengths.max() - lengths.min() <= 9  # neighbors in length: little padding
    again = imagen.corpus_batches(batch=64)(torch.Generator().manual_seed(0))
    assert all(torch.equal(one, two) for one, two in zip(batch, again, strict=True))


def test_a_file_holds_all_that_it_takes_to_read_again(tmp_path):
    system = reader()
    model_file.save(tmp_path / "t5.safetensors", system)
    again = model_file.load(tmp_path / "t5.safetensors")
    assert again.config == CONFIG
    assert torch.allclose(again.encode([DISC]).tokens, system.encode([DISC]).tokens, atol=2e-2)


def test_a_sentinel_that_the_text_does_not_have_ends_the_filling_before_it():
    system = reader()
    red, blue, star = (system.reads.pieces.encode(word).ids[0] for word in ("red", "blue", "star"))
    said = [1024, red, 1022, blue, 1023, star, 1024, blue]
    assert system.filled(["a ", " and a ", ""], said) == "a red blue and a star"
    speech = [1024, red, 1023, blue]
    system.net.next = lambda said, *text: F.one_hot(
        torch.tensor([[speech[said.shape[1] - 1]]]), 1025
    )
    assert system.fill("a ___ star") == "a red star"


def test_there_are_as_many_blanks_as_tokens_behind_those_of_texts():
    assert reader().sentinels == 16


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a red star", "with a blank, ___"),
        (3, "text is 3"),
        (None, "text is None"),
        ("___ " * 17, "17 blanks, but this T5 can tell 16 apart"),
        ("red " * 40 + "___", "43 tokens with its blanks and its end, but at most 32 fit"),
        ("a \ud800 ___", "half of a character"),
    ],
)
def test_a_text_without_a_blank_or_with_too_much_is_refused(text, says):
    with pytest.raises(ValueError, match=f"^[^\n]*{says}[^\n]*$"):
        reader().fill(text)


def test_without_a_decoder_it_reads_and_says_why_it_fills_nothing():
    system = reader(replace(CONFIG, decoder=0))
    assert system.encode([STAR]).tokens.shape == (1, 5, 32)
    with pytest.raises(ValueError, match="no decoder"):
        system.fill("a ___ star")
    with pytest.raises(ValueError, match="no decoder"):
        system.loss(blanks([("a <0>", "<0> star")], system))


@pytest.mark.parametrize("texts", [[], [""], 3, ["star " * 40]])
def test_what_it_cannot_read_gets_one_sentence(texts):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        reader().encode(texts)


def test_a_tokenizer_with_more_tokens_than_it_knows_is_refused():
    with pytest.raises(ValueError, match="build it as T5"):
        reader(replace(CONFIG, vocabulary=900, sentinel=899)).encode([STAR])
