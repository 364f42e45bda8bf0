"""Matching by cross attention: the losses against numbers worked out by hand, who looks at whom,
what padding may not do, scores of all pairs and of the best, and the doors."""

import json
from dataclasses import asdict

import pytest
import torch

from labkit import scenes
from labkit.nets.bert import BertConfig
from labkit.scenes import matches
from labkit.scenes.matches import Matches
from labkit.scenes.reader import Reader, ReaderConfig
from labkit.scenes.regions import Regions
from labkit.scenes.tokenizer import Tokens, load
from labkit.systems.bert import MaskedLM
from labkit.systems.hinge import hardest_hinge, sum_hinge
from labkit.systems.joint import Encoded, blocks
from labkit.systems.matcher import BRANCHES, Matcher, MatcherConfig
from labkit.systems.mmca import MMCA
from labkit.train import train

TEXT = BertConfig(vocabulary=1010, context=32, width=16, depth=1, heads=2)
CONFIG = MatcherConfig(TEXT, features=6, width=8, heads=2, hidden=12, filters=5, warmup=2)
CAPTIONS = ["a star", "a red star left of a blue moon", "two small discs", "a heart on gray"]


def matcher(branches: str = "both", **changed) -> Matcher:
    torch.manual_seed(0)
    made = Matcher(MatcherConfig(**{**asdict(CONFIG), "branches": branches, **changed})).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def regions(count: int = 4) -> Regions:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(5) < torch.tensor([1, 5, 3, 2])[:count, None]
    features = torch.randn(count, 5, 6, generator=generator)
    return Regions(features, torch.rand(count, 5, 4, generator=generator), mask)


def encoded(model: Matcher, count: int = 4) -> tuple[Encoded, Encoded]:
    with torch.no_grad():
        return model.encode_image(regions(count)), model.encode_text(CAPTIONS[:count])


# The losses

S = torch.tensor([[0.9, 0.3, 0.8], [0.2, 0.7, 0.6], [0.5, 0.65, 0.75]])


def test_the_hinges_of_three_pairs_are_those_worked_out_by_hand():
    texts, images = hardest_hinge(S, 0.2)
    assert texts.tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert images.tolist() == pytest.approx([0, 0.15, 0.25])
    assert hardest_hinge(S, 0.2).sum().item() == pytest.approx(0.70)
    assert sum_hinge(S, 0.2).sum().item() == pytest.approx(0.75)


def test_a_network_that_says_the_same_of_all_pays_two_margins_a_pair():
    assert hardest_hinge(torch.full((5, 5), 0.3), 0.2).sum(0).tolist() == pytest.approx([0.4] * 5)


def test_a_caption_that_is_true_of_another_picture_is_no_negative_there():
    true = torch.eye(3, dtype=torch.bool)
    true[0, 2] = True  # the third caption is true of the first picture, too
    texts, images = hardest_hinge(S, 0.2, true)
    assert texts.tolist() == pytest.approx([0, 0.1, 0.1])
    assert images.tolist() == pytest.approx([0, 0.15, 0.05])
    assert sum_hinge(S, 0.2, true).sum().item() == pytest.approx(0.75 - 0.1 - 0.25)
    scores = S.clone().requires_grad_()
    hardest_hinge(scores, 0.2, true).sum().backward()
    assert scores.grad[0, 2] == 0 and scores.grad[2, 2] < 0


def test_the_first_batches_count_every_negative_and_later_ones_the_hardest():
    model = matcher().train()
    batch = Matches(regions(), CAPTIONS, torch.eye(4, dtype=torch.bool))
    with torch.no_grad():
        scores = model.scores(*encoded(model))
        costs = [model.loss(batch).item() for _ in range(3)]
    every, hardest = (kind(scores, 0.2).sum(0).mean().item() for kind in (sum_hinge, hardest_hinge))
    assert every > hardest + 1e-3
    assert costs == pytest.approx([every, every, hardest], abs=1e-5)
    assert model.eval().loss(batch).item() == pytest.approx(hardest, abs=1e-5) and model.seen == 3


def test_negatives_may_be_sought_among_neighbors_alone_which_saves_passes(monkeypatch):
    passes, whole = [], Matcher.pair_scores
    monkeypatch.setattr(
        Matcher,
        "pair_scores",
        lambda self, i, j: passes.append(len(i.tokens)) or whole(self, i, j),
    )
    model, true = matcher(among=2, warmup=0), torch.eye(4, dtype=torch.bool)
    cost = model.loss(Matches(regions(), CAPTIONS, true)).item()
    assert sum(passes) == 2 * 2**2
    halves = [
        model.loss(Matches(regions().take(slice(at, at + 2)), CAPTIONS[at : at + 2], true[:2, :2]))
        for at in (0, 2)
    ]
    assert cost == pytest.approx(sum(halves).item() / 2, abs=1e-5)


# Who looks at whom


@torch.no_grad()
def test_every_region_and_word_looks_at_regions_and_words_in_one_softmax():
    model = matcher()
    images, texts = encoded(model)
    attention = model.attention(images, texts)
    M, L = images.tokens.shape[1], texts.tokens.shape[1]
    assert attention.shape == (4, 2, M + L, M + L)
    assert torch.allclose(attention.sum(3), torch.ones(4, 2, M + L))
    there = torch.cat([images.mask, texts.mask], 1)[:, None, None].expand_as(attention)
    assert (attention[~there] == 0).all() and (attention[there] > 0).all()
    RR, RE, ER, EE = blocks(attention, M)
    assert RR.shape[2:] == (M, M) and RE.shape[2:] == (M, L)
    assert ER.shape[2:] == (L, M) and EE.shape[2:] == (L, L)
    assert torch.equal(torch.cat([ER, EE], 3), attention[:, :, M:])


@torch.no_grad()
def test_masking_the_other_modality_leaves_the_self_attention_of_each():
    model = matcher()
    images, texts = encoded(model)
    regions_alone = model.joint_unit(images.tokens, images.mask[:, None, None])
    words_alone = model.joint_unit(texts.tokens, texts.mask[:, None, None])
    x = model.joint_unit(*model.joined(images, texts, across=False))
    M = images.tokens.shape[1]
    assert torch.allclose(x[:, :M][images.mask], regions_alone[images.mask], atol=1e-6)
    assert torch.allclose(x[:, M:][texts.mask], words_alone[texts.mask], atol=1e-6)
    alone, apart = (model.cross_vectors(images, texts, across=False) for _ in range(2))
    other = texts.take(torch.tensor([1, 2, 3, 0]))
    assert torch.allclose(model.cross_vectors(images, other, across=False)[0], alone[0], atol=1e-6)
    together = model.cross_vectors(images, other)[0]
    assert (together - model.cross_vectors(images, texts)[0]).abs().max() > 1e-3
    assert torch.equal(alone[1], apart[1])
    across = blocks(model.attention(images, texts, across=False), M)
    assert not across.RE.any() and not across.ER.any()


@torch.no_grad()
def test_the_order_of_the_regions_makes_no_difference():
    model, given = matcher(), regions()
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = model.encode_image(Regions(*(table[:, order] for table in given)))
    images, texts = encoded(model)
    assert torch.allclose(turned.vector, images.vector, atol=1e-6)
    for one, other in zip(model.cross_vectors(turned, texts), model.cross_vectors(images, texts)):
        assert torch.allclose(one, other, atol=1e-6)


@torch.no_grad()
def test_a_region_is_more_than_what_is_seen_in_it_it_is_somewhere():
    model, given = matcher(), regions()
    moved = given._replace(places=given.places.flip(2))
    assert (model.encode_image(moved).vector - model.encode_image(given).vector).abs().max() > 1e-3


@torch.no_grad()
def test_what_stands_in_the_padding_changes_no_score():
    model, given, tokens = matcher(), regions(), load().encode(CAPTIONS)
    hidden = ~given.mask[..., None]
    loud = Regions(given.features + 100 * hidden, given.places + 100 * hidden, given.mask)
    ids = torch.where(tokens.mask, tokens.ids, 77)
    images, texts = encoded(model)
    loud_images, loud_texts = model.encode_image(loud), model.encode_text(Tokens(ids, tokens.mask))
    assert torch.allclose(loud_images.vector, images.vector, atol=1e-5)
    assert torch.allclose(loud_texts.vector, texts.vector, atol=1e-5)
    assert torch.allclose(
        model.scores(loud_images, loud_texts), model.scores(images, texts), atol=1e-5
    )
    pointed = model.word_regions(loud_images, loud_texts)
    assert torch.allclose(pointed, model.word_regions(images, texts), atol=1e-5)
    assert torch.allclose(pointed.sum(2), texts.mask.float())


@torch.no_grad()
def test_a_region_behind_a_hidden_one_is_never_cut_off():
    model, given = matcher(), regions().take(slice(1, 2))  # of five regions
    mask = given.mask.clone()
    mask[0, 1] = False
    images = model.encode_image(given._replace(mask=mask))
    text = model.encode_text(CAPTIONS[:1])
    trimmed = images.trimmed()
    assert images.lengths.tolist() == [5] and trimmed.mask.sum() == 4
    assert torch.equal(model.pair_scores(trimmed, text), model.pair_scores(images, text))
    last = mask & (torch.arange(5) < 4)
    assert model.encode_image(given._replace(mask=last)).trimmed().tokens.shape[1] == 4


@torch.no_grad()
def test_places_of_another_dtype_than_the_weights_are_taken_to_theirs():
    model, given = matcher().double(), regions()
    images = model.encode_image(given._replace(features=given.features.double()))
    assert images.vector.dtype == torch.float64
    assert torch.allclose(images.vector.float(), matcher().encode_image(given).vector, atol=1e-5)


# Scores


@torch.no_grad()
@pytest.mark.parametrize("branches", BRANCHES)
def test_scores_of_all_pairs_are_those_of_each_pair_alone(branches, monkeypatch):
    monkeypatch.setattr("labkit.systems.matcher.PAIRS", 3)
    model = matcher(branches, beta=0.5)
    images, texts = encoded(model)
    scores = model.scores(images, texts.take(torch.tensor([1, 0, 3])))
    for row in range(4):
        for column, text in enumerate((1, 0, 3)):
            image = model.encode_image(regions().take(slice(row, row + 1)))
            alone = model.pair_scores(image, model.encode_text(CAPTIONS[text]))
            assert scores[row, column].item() == pytest.approx(alone.item(), abs=1e-5)


@torch.no_grad()
def test_the_score_is_the_sum_of_both_branches_the_second_weighed_by_beta():
    model = matcher(beta=0.5)
    images, texts = encoded(model)
    image, text = model.cross_vectors(images, texts)
    assert torch.allclose(image.norm(dim=1), torch.ones(4))
    expected = (images.vector * texts.vector).sum(1) + 0.5 * (image * text).sum(1)
    assert torch.allclose(model.pair_scores(images, texts), expected)
    assert torch.allclose(model.cheap_scores(images, texts), images.vector @ texts.vector.T)


@torch.no_grad()
@pytest.mark.parametrize("of", ["captions", "pictures"])
def test_the_cross_branch_looks_at_the_best_by_the_cheap_score_alone(of, monkeypatch):
    model = matcher()
    images, texts = encoded(model)
    passes, whole = [], Matcher.pair_scores
    monkeypatch.setattr(
        Matcher,
        "pair_scores",
        lambda self, i, j: passes.append(len(i.tokens)) or whole(self, i, j),
    )
    found, cheap, every = (
        model.scores(images, texts, 2, of),
        model.cheap_scores(images, texts),
        model.scores(images, texts),
    )
    assert sum(passes) == 4 * 2 + 4 * 4
    axis = 1 if of == "captions" else 0
    best = cheap.topk(2, axis).indices
    chosen = torch.zeros(4, 4, dtype=torch.bool).scatter(axis, best, True)
    assert torch.allclose(found[chosen], every[chosen], atol=1e-6)
    assert found[~chosen].max() < found[chosen].min()
    turned = (found, cheap, chosen) if axis else (found.T, cheap.T, chosen.T)
    for row, first, hit in zip(*turned):
        assert torch.equal(row[~hit].argsort(), first[~hit].argsort())
    assert torch.equal(model.scores(images, texts, 4, of), every)


@torch.no_grad()
@pytest.mark.parametrize("branches", BRANCHES)
def test_trained_on_a_few_pairs_it_finds_each_again(branches):
    batch = Matches(regions(), CAPTIONS, torch.eye(4, dtype=torch.bool))
    model = matcher(branches, warmup=30)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.enable_grad():
        *_, last = train(model, lambda generator: batch, 80, lr=5e-3, warmup=5, ema=0.5)
    scores = last.ema.scores(*encoded(last.ema))
    assert torch.equal(scores.argmax(1), torch.arange(4))
    assert torch.equal(scores.argmax(0), torch.arange(4))


def test_it_begins_with_the_text_encoder_of_a_trained_bert():
    torch.manual_seed(1)
    bert, model = MaskedLM(TEXT), matcher()
    model.begin_from(bert)
    ids, mask = torch.ones(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool)
    assert torch.equal(model.text(ids, mask), bert.encoder(ids, mask))


@pytest.mark.parametrize("branches", BRANCHES)
def test_a_configuration_survives_json(branches):
    config = MatcherConfig(TEXT, branches=branches)
    assert MatcherConfig(**json.loads(json.dumps(asdict(config)))) == config


# Pictures


def whole() -> MMCA:
    torch.manual_seed(0)
    reader = Reader(ReaderConfig(size=16, width=8, deep=8, close=8)).eval()
    torch.nn.init.constant_(reader.present.bias, 0.5)  # untrained, it would see nothing
    return MMCA(reader, Matcher(MatcherConfig(**{**asdict(CONFIG), "features": 264})).eval())


def pictures(count: int = 5) -> torch.Tensor:
    return scenes.render(scenes.draw(count, 3), 16)


@torch.no_grad()
def test_pictures_and_sentences_are_scored_and_searched():
    mmca = whole()
    gallery = mmca.encode_image(pictures())
    scores = mmca(pictures(), CAPTIONS)
    assert scores.shape == (5, 4)
    found = mmca.search(mmca.encode_text(CAPTIONS), gallery, k=3)
    assert torch.allclose(found.scores, scores.T.topk(3, 1).values, atol=1e-6)
    assert torch.equal(scores.T.gather(1, found.rows).sort(1, descending=True)[0], found.scores)
    back = mmca.search(gallery, mmca.encode_text(CAPTIONS), k=2, top=3, of="captions")
    assert back.rows.shape == (5, 2) and back.rows.max() < 4
    assert mmca.matcher.words("a red star") == ["<begin>", "a", "red", "star", "<end>"]


# Doors


def refused(call, *words):
    with pytest.raises(ValueError, match="^[^\n]+$") as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


def test_regions_that_are_none_or_of_another_width_get_a_sentence():
    model, given = matcher(), regions()
    refused(lambda: model.encode_image(given._replace(mask=torch.zeros(4, 5).bool())), "at least")
    refused(lambda: model.encode_image(given._replace(features=torch.zeros(4, 5, 7))), "(4, 5, 7)",
            "6 numbers")  # fmt: skip
    refused(lambda: model.encode_image(given._replace(places=torch.zeros(4, 5, 3))), "Regions")
    refused(lambda: model.encode_image(given.take(slice(0, 0))), "at least one picture")
    refused(lambda: model.encode_image(torch.zeros(4, 5, 6)), "Regions", "propose")
    refused(lambda: model.encode_image(given._replace(features=given.features.half())), "float16")
    for name in ("features", "places"):
        table = getattr(given, name).clone()
        table[1, 2, 0] = torch.nan
        broken = given._replace(**{name: table})
        refused(lambda broken=broken: model.encode_image(broken), "finite")


def test_texts_that_are_all_padding_or_unknown_get_a_sentence():
    model, tokens = matcher(), load().encode(CAPTIONS)
    nothing = Tokens(tokens.ids, torch.zeros_like(tokens.mask))
    refused(lambda: model.encode_text(nothing), "all padding")
    refused(lambda: model.encode_text(Tokens(tokens.ids, tokens.mask.flip(1))), "padding")
    refused(lambda: model.encode_text(Tokens(tokens.ids, tokens.mask[:2])), "mask")
    refused(lambda: model.encode_text("a purple zebra"), "zebra")
    refused(lambda: model.encode_text(""), "empty")
    refused(lambda: model.encode_text(load().null(2)), "2 tokens", "at least 3")
    beside = Tokens(*map(torch.cat, zip(load().null(1), tokens)))
    refused(lambda: model.encode_text(beside), "2 tokens", "at least 3")
    assert model.encode_text("star").lengths.tolist() == [3]
    short = Matcher(MatcherConfig(BertConfig(1010, 4, 16, 1, 2), features=6, width=8, heads=2))
    refused(lambda: short.encode_text("a big red star"), "6 tokens", "at most 4")


def test_searches_with_nothing_to_choose_get_a_sentence():
    mmca = whole()
    gallery, texts = mmca.encode_image(pictures()), mmca.encode_text(CAPTIONS)
    refused(lambda: mmca.search(texts, gallery.take(slice(0, 1))), "holds 1 of the pictures")
    for k in (0, 6):
        refused(lambda k=k: mmca.search(texts, gallery, k=k), "k is", "from 1 to 5")
        refused(lambda k=k: mmca.search(texts, gallery, top=k), "top is", "from 1 to 5")
    refused(lambda: mmca.search(texts, gallery, k=3, top=2), "k is 3", "from 1 to 2")
    refused(lambda: mmca.search(texts, gallery, of="picture"), "pictures")
    refused(lambda: mmca.scores(gallery, texts, top=0), "top is 0", "from 1 to 4")
    refused(lambda: MMCA(mmca.reader, matcher()), "264", "6")
    refused(lambda: mmca.encode_image(pictures()[:, :1]), "(B, 3, 16, 16)")


def test_what_a_branch_alone_cannot_do_gets_a_sentence():
    cross, alone = matcher("cross"), matcher("self")
    refused(lambda: cross.cheap_scores(*encoded(cross)), "cheap", "branches='both'")
    refused(lambda: cross.scores(*encoded(cross), top=2), "cheap")
    refused(lambda: alone.attention(*encoded(alone)), "attention", "branches='both'")
    refused(lambda: alone.cross_vectors(*encoded(alone)), "cross", "branches='both'")


def test_unequal_numbers_of_pictures_and_sentences_look_at_nothing():
    images, texts = encoded(matcher())
    one = texts.take(slice(0, 1))
    refused(lambda: matcher().attention(images, one), "4 pictures", "1 sentences")
    refused(lambda: matcher().word_regions(images, one), "4 pictures", "1 sentences")


def test_a_batch_without_a_wrong_pair_or_of_unequal_halves_gets_a_sentence():
    model, true = matcher(), torch.eye(4, dtype=torch.bool)
    refused(lambda: model.loss(Matches(regions(1), CAPTIONS[:1], true[:1, :1])), "1 pictures")
    refused(lambda: model.loss(Matches(regions(), CAPTIONS[:3], true)), "3 captions")
    refused(lambda: model.loss(Matches(regions(), CAPTIONS, true[:3])), "(3, 4)")
    refused(lambda: model.loss(Matches(regions(), CAPTIONS, true.float())), "float32", "bool")
    refused(lambda: model.loss(Matches(regions(), CAPTIONS, true | True)), "no wrong pair")
    near, halves = torch.arange(4) // 2, Matches(regions(), CAPTIONS, true)
    within = near[:, None] == near
    refused(lambda: matcher(among=2).loss(halves._replace(true=within)), "no wrong pair")
    within[0, 1] = False  # one is enough
    assert matcher(among=2).loss(halves._replace(true=within)).isfinite()


def test_a_bert_or_a_configuration_that_does_not_fit_gets_a_sentence():
    refused(lambda: matcher().begin_from(MaskedLM(BertConfig(1010, 32, 8, 1, 2))), "width=8")
    refused(lambda: MatcherConfig(TEXT, branches="all"), "branches")
    refused(lambda: MatcherConfig(TEXT, width=10, heads=4), "4 heads")
    refused(lambda: MatcherConfig(TEXT, margin=-1), "margin")
    refused(lambda: MatcherConfig(TEXT, among=1), "negatives", "at least 2")


def test_a_batch_of_the_pool_is_what_the_loss_takes():
    known = matches.pool(3, 0)
    N = len(known.scenes.background)
    generator = torch.Generator().manual_seed(0)
    seen = Regions(torch.randn(N, 4, 6, generator=generator), torch.rand(N, 4, 4),
                   torch.ones(N, 4, dtype=torch.bool))  # fmt: skip
    batch = matches.batches(known, seen, groups=2)(generator)
    assert matcher().loss(batch).isfinite()
