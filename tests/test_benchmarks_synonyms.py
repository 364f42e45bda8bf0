"""The measure of synonyms finds them in an encoder that has them, and none where there are none."""

import pytest
import torch

from benchmarks import synonyms
from labkit.nets.t5 import T5Config
from labkit.scenes.synonyms import PLAIN, SYNONYMS
from labkit.systems.t5 import T5


def encoder(meeting: bool) -> T5:
    """One that says of each token its embedding, the same for synonyms if they meet."""
    torch.manual_seed(0)
    model = T5(T5Config(vocabulary=1025, width=48, hidden=8, depth=1, heads=1, head_width=8,
                        sentinel=1024)).eval()  # fmt: skip
    for block in model.net.encoder.blocks:
        for part in (block.attention.out, block.mlp.out):
            torch.nn.init.zeros_(part.weight)
    if meeting:
        table, pieces = model.net.tokens.weight.data, model.reads.pieces
        for word, plain in PLAIN.items():
            one, other = (pieces.encode(each).ids for each in (word, plain))
            if len(one) == 1:
                table[one[0]] = table[other[0]]
    return model


@pytest.mark.parametrize("kind", ["color", "shape"])
def test_where_synonyms_are_the_same_all_are_found_and_where_they_are_not_few(kind):
    plain, avoided = synonyms.probe(encoder(True), kind, count=400)
    assert plain == avoided == 1
    assert synonyms.nearest(encoder(True), kind, count=100) == 1
    plain, avoided = synonyms.probe(encoder(False), kind, count=400)
    assert plain == 1 and avoided < 0.5  # a table of its own numbers says nothing of new words


@pytest.mark.parametrize("kind", SYNONYMS)
def test_versions_differ_in_the_one_word_and_one_of_them_means_the_same(kind):
    texts = synonyms.sentences(200, 0)
    found = [each for text in texts if (each := synonyms.versions(text, kind))]
    assert len(found) > 10
    for plain, text, others, words in found:
        assert plain in words and len(others) == len(words) == len(set(others))
        assert text not in others


def test_an_avoided_word_of_several_pieces_is_not_taken_for_its_first_one():
    said = ["two stars and a pair of moons"]
    _, names, avoided = synonyms.said_of(encoder(False), said, "number")
    assert names == ["two"] and avoided == [False]


def test_sentences_are_the_same_for_the_same_seed_and_of_other_seeds_than_training_s():
    assert synonyms.sentences(20, 1) == synonyms.sentences(20, 1) != synonyms.sentences(20, 2)
