"""Text as numbers: any caption fits, any text comes back, nothing is quietly cut."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import scenes
from labkit.scenes import tokenizer
from labkit.scenes.descriptions import descriptions

LOADED = tokenizer.load()


def test_learning_again_gives_the_shipped_file():
    learned = json.loads(tokenizer.learn().pieces.to_str())
    assert learned == json.loads(tokenizer.FILE.read_text("utf-8"))


def test_begin_and_end_enclose_the_text_and_the_end_is_the_largest_id():
    tokens = LOADED.encode(["a red star", "three shapes: a moon and two boxes on mint"])
    assert tokens.ids.shape == tokens.mask.shape == (2, tokenizer.CONTEXT)
    assert tokens.ids.dtype == torch.long and tokens.mask.dtype == torch.bool
    lengths = tokens.mask.sum(1)
    assert lengths.tolist() == [5, 12]
    assert (tokens.ids[:, 0] == LOADED.begin).all()
    assert torch.equal(tokens.ids.argmax(1), lengths - 1)  # where CLIP looks for the end
    assert (tokens.ids[~tokens.mask] == LOADED.pad).all() and LOADED.pad == 0
    assert LOADED.end == len(LOADED) - 1 == tokens.ids.max()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**62))
def test_every_caption_fits_and_comes_back_one_piece_a_word(seed):
    texts = scenes.captions(scenes.draw(50, seed, "all"), seed)
    tokens = LOADED.encode(texts)
    assert LOADED.decode(tokens.ids) == texts
    assert not any(map(LOADED.unknown, texts))
    words = [text.replace(",", " ,").replace(":", " :").split() for text in texts]
    assert (tokens.mask.sum(1) - 2).tolist() == [len(row) for row in words]


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=8))
def test_any_text_comes_back_whole_up_to_case_and_spaces(text):
    if text.strip():
        wanted = LOADED.pieces.normalizer.normalize_str(" ".join(text.split()))
        assert LOADED.decode(LOADED.encode(text).ids) == [wanted.strip()]


def test_case_and_spaces_make_no_difference():
    one, other = LOADED.encode(["a red star", "  A  Red\nSTAR "]).ids
    assert torch.equal(one, other)


def test_unknown_words_are_encoded_from_pieces_and_named():
    assert LOADED.unknown("A red zebra, über a star ★") == ["zebra", "über", "★"]
    assert LOADED.unknown("a banana, not painted") == ["banana", "not", "painted"]  # of the corpus
    assert not any(map(LOADED.unknown, descriptions(scenes.draw(300, 1), 1)))
    assert len(LOADED.split("zebra")) > 1 and LOADED.split("a star") == ["a", "star"]


def test_a_text_cannot_smuggle_an_end_in():
    tokens = LOADED.encode("a red <end> star <pad>")
    assert (tokens.ids == LOADED.end).sum() == 1
    assert LOADED.decode(tokens.ids) == ["a red <end> star <pad>"]


def test_no_text_has_a_row_of_its_own():
    null = LOADED.null(2)
    assert null.ids[:, :3].tolist() == [[LOADED.begin, LOADED.end, 0]] * 2
    assert null.mask.sum(1).tolist() == [2, 2] and LOADED.decode(null.ids) == ["", ""]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: LOADED.encode(""), "must say something; for no text at all take"),
    (lambda: LOADED.encode(["a star", " \n"]), "must say something"),
    (lambda: LOADED.encode([]), "at least one text"),
    (lambda: LOADED.encode([3]), "must be a string"),
    (lambda: LOADED.encode(None), "at least one text"),
    (lambda: LOADED.encode(b"a star"), "must be a string"),
    (lambda: LOADED.encode("star " * 31), "has 31 tokens, but at most 30 fit"),
    (lambda: LOADED.null(0), "the number is 0"),
    (lambda: LOADED.decode(torch.tensor([[9999]])), "from 0 to"),
    (lambda: LOADED.decode(torch.zeros(2, 3)), "whole numbers of shape"),
    (lambda: tokenizer.Tokenizer(LOADED.pieces, 2), "the context is 2"),
    (lambda: tokenizer.train(["a"], 10), "number of pieces is 10"),
])  # fmt: skip
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_thirty_tokens_just_fit():
    assert LOADED.encode("star " * 30).mask.all()
