"""BERT and the matcher learn, score and search where they lie, and do there what a CPU does."""

import pytest
import torch

from labkit import scenes
from labkit.batches import moved
from labkit.nets.bert import BertConfig
from labkit.scenes import corpus, matches, regions, tokenizer
from labkit.scenes.reader import Reader, ReaderConfig
from labkit.systems.bert import MaskedLM, hide
from labkit.systems.matcher import Matcher, MatcherConfig
from labkit.systems.mmca import MMCA
from labkit.train import train
from tests.machines.pretended import pretended

TEXT = BertConfig(vocabulary=1010, context=32, width=16, depth=1, heads=2)
TINY = MatcherConfig(TEXT, features=264, width=8, heads=2, hidden=12, filters=5, warmup=1)
CAPTIONS = ["a star", "a red star left of a blue moon", "two small discs"]


def mmca(device="cpu") -> MMCA:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        reader = Reader(ReaderConfig(size=16, width=8, deep=8, close=8))
        torch.nn.init.constant_(reader.present.bias, 0.5)  # untrained, it would see nothing
        return MMCA(reader, Matcher(TINY)).to(device).eval()


def bert(device="cpu") -> MaskedLM:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        return MaskedLM(TEXT).to(device)


KNOWN = matches.pool(2, 0)
SEEN = regions.propose(mmca().reader, scenes.render(KNOWN.scenes, 16))
BATCH = matches.batches(KNOWN, SEEN, groups=2)(torch.Generator().manual_seed(0))
SENTENCES = tokenizer.load().encode(corpus.sentences(6, 0))
HIDDEN = hide(SENTENCES, TEXT.vocabulary, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "system, batch", [(bert, HIDDEN), (lambda device: mmca(device).matcher, BATCH)],
    ids=["bert", "matcher"],
)  # fmt: skip
def test_three_steps(alike, system, batch):
    def work(device):
        trained = system(device)
        steps = list(train(trained, lambda generator: batch, steps=3, warmup=1, ema=0.5))
        return [step.loss for step in steps], list(steps[-1].ema.parameters())

    alike(work)


def test_pictures_and_sentences_are_encoded_scored_and_searched(alike):
    def work(device):
        system, drawn = mmca(device), scenes.render(scenes.draw(4, 1), 16).to(device)
        images, texts = system.encode_image(drawn), system.encode_text(CAPTIONS)
        with torch.no_grad():
            pointed = system.matcher.word_regions(images.take(torch.tensor([2, 0, 1])), texts)
        found = system.search(texts, images, k=2, top=3)
        return images[:3], texts[:3], system(drawn, CAPTIONS), pointed, found

    alike(work)


def test_words_are_guessed(alike):
    alike(lambda device: bert(device).guess("a <mask> star", k=3))


def test_a_loss_waits_for_its_device_only_to_look_at_what_it_was_given():
    with pretended("cuda") as machine:
        matcher, model = mmca("cuda").matcher.train(), bert("cuda")
        batch, hidden = (moved(each, torch.device("cuda")) for each in (BATCH, HIDDEN))
        machine.waits.clear()
        matcher.loss(batch)
        assert machine.waits.total() <= 3, machine.waits
        machine.waits.clear()
        model.loss(hidden)
        assert not machine.waits
