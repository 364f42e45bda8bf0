"""The checks of lesson 13 pass what is right, however it is written, and name what is wrong."""

import pytest
import torch

from labkit.lab import checks, matching
from labkit.scenes.regions import Regions
from labkit.systems.matcher import Matcher
from tests.lab.check_soundness import assert_check_is_sound


def shares_by_blocks(attention, mask, regions):
    found = []
    for weights, real in zip(attention.mean(1), mask):
        rows = torch.split(weights, [regions, len(real) - regions])
        here = real[:regions], real[regions:]
        parts = [each[keep].mean(0) for each, keep in zip(rows, here)]
        found.append(torch.stack([torch.stack([p[:regions].sum(), p[regions:].sum()])
                                  for p in parts]))  # fmt: skip
    return torch.stack(found)


def pool_row_by_row(x, mask):
    rows = [each[real] for each, real in zip(x, mask)]
    return torch.stack([r.mean(0) for r in rows]), torch.stack([r.max(0).values for r in rows])


def pool_by_where(x, mask):
    real = mask[:, :, None]
    mean = torch.where(real, x, 0.0).sum(1) / mask.sum(1, keepdim=True)
    return mean, torch.where(real, x, -torch.inf).max(1).values


def split_by_log_softmax(logits, values, regions):
    joint = logits.log_softmax(1)
    share = joint[:, :regions].logsumexp(1).exp()
    parts = torch.tensor_split(logits, [regions], 1), torch.tensor_split(values, [regions])
    first, second = (each.softmax(1) @ value for each, value in zip(*parts))
    return share, first, second


def split_by_joint_softmax(logits, values, regions):
    m = regions
    share = logits.softmax(1)[:, :m].sum(1)
    return share, logits[:, :m].softmax(1) @ values[:m], logits[:, m:].softmax(1) @ values[m:]


def hinge_by_where(scores, margin, true):
    own = torch.arange(len(scores))
    wrong = torch.where(true, torch.full_like(scores, float("-inf")), scores)
    right = scores[own, own]
    rows, columns = wrong.max(dim=1).values, wrong.max(dim=0).values
    return torch.relu(torch.stack([rows, columns]) + margin - right)


def hinge_pair_by_pair(scores, margin, true):
    found = []
    for s, t in ((scores, true), (scores.T, true.T)):
        terms = [[margin - s[i, i] + s[i, j] for j in range(len(s)) if not t[i, j]]
                 for i in range(len(s))]  # fmt: skip
        zero = scores.sum() * 0
        found += [torch.stack([torch.stack([zero, *row]).max() for row in terms])]
    return torch.stack(found)


def recall_by_sorting(similarity, k):
    N, M = similarity.shape
    c, found = M // N, []
    for s, owner in ((similarity, True), (similarity.T, False)):
        hits = 0
        for row, values in enumerate(s.tolist()):
            right = range(row * c, row * c + c) if owner else [row // c]
            best = max(values[j] for j in right)
            hits += sum(v >= best for j, v in enumerate(values) if j not in right) < k
        found.append(hits / len(s))
    return tuple(found)


def recall_by_folding(similarity, k):
    N, M = similarity.shape
    folded = similarity.view(N, N, M // N)
    own = folded.diagonal(dim1=0, dim2=1).T  # (N, c)
    best = own.amax(1)[:, None, None]
    others = ~torch.eye(N, dtype=torch.bool)[:, :, None]
    first = (((folded >= best) & others).sum((1, 2)) < k).double().mean()
    second = (((folded >= own[None]) & others).sum(0) < k).double().mean()
    return first.item(), second.item()


def rerank_by_filling(cheap, joint, top):
    final = cheap - cheap.max() - 1e3
    best = cheap.topk(top).indices
    final[best] = joint(best)
    return final.sort(descending=True).indices


def rerank_by_lists(cheap, joint, top):
    order = sorted(range(len(cheap)), key=lambda row: -cheap[row])
    best, rest = order[:top], order[top:]
    scores = dict(zip(best, joint(torch.tensor(best)).tolist()))
    return torch.tensor([*sorted(best, key=scores.get, reverse=True), *rest])


RIGHT = {
    "block_shares": [shares_by_blocks],
    "masked_pool": [pool_row_by_row, pool_by_where],
    "split_attention": [split_by_log_softmax, split_by_joint_softmax],
    "hardest_costs": [hinge_by_where, hinge_pair_by_pair],
    "recall_both": [recall_by_sorting, recall_by_folding],
    "rerank": [rerank_by_filling, rerank_by_lists],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def rerank_one_at_a_time(cheap, joint, top):
    """Every row of the gallery costs a joint pass, each in a call of its own."""
    return torch.cat([joint(row) for row in torch.arange(len(cheap)).split(1)]).argsort(
        descending=True
    )


def recall_of_pictures(similarity, k):
    """Ranks the pictures, each by its best caption."""
    N = len(similarity)
    best = similarity.view(N, N, -1).amax(2)
    ahead = (best >= best.diagonal()[:, None]).sum(1) - 1
    return (ahead < k).double().mean().item(), recall_by_folding(similarity, k)[1]


def pool_by_a_number(filled):
    def pool(x, mask):
        top = x.masked_fill(~mask[..., None], filled).amax(1)
        return pool_row_by_row(x, mask)[0], top

    return pool


def pool_by_zero_times_infinity(x, mask):
    top = (x + (1 - mask[..., None].float()) * -torch.inf).amax(1)
    return pool_row_by_row(x, mask)[0], top


def shares_from_one_too_many(attention, mask, regions):
    return shares_by_blocks(attention, mask, regions + 1)


def hinge_of_two_columns(scores, margin, true):
    return hinge_by_where(scores, margin, true).T


def hinge_by_own_of_rows(scores, margin, true):
    """Costs of the whole matrix, with the own score of each row, for captions too."""
    costs = torch.relu(margin + scores - scores.diagonal()[:, None]) * ~true
    return torch.stack([costs.amax(1), costs.amax(0)])


def hinge_by_a_transposed_mask(scores, margin, true):
    rows = hinge_by_where(scores, margin, true)[0]
    return torch.stack([rows, hinge_by_where(scores, margin, true.T)[1]])


WRONG = [
    ("rerank", rerank_one_at_a_time, "You score the whole gallery jointly"),
    ("recall_both", recall_of_pictures, "You rank pictures by their best caption"),
    ("masked_pool", pool_by_a_number(-100.0), "You fill in a number that is too large"),
    ("masked_pool", pool_by_zero_times_infinity, "0 · (−∞) is nan"),
    ("block_shares", shares_from_one_too_many, "You count one region too many"),
    ("hardest_costs", hinge_of_two_columns, "Your numbers are (B, 2)"),
    ("hardest_costs", hinge_by_own_of_rows, "For a caption you subtract the own score of each row"),
    ("hardest_costs", hinge_by_a_transposed_mask, "Down the columns you use `true` transposed"),
]


@pytest.mark.parametrize(("name", "wrong", "said"), WRONG, ids=lambda each: getattr(
    each, "__name__", ""))  # fmt: skip
@pytest.mark.parametrize("seed", range(2))
def test_a_mistake_that_comes_naturally_is_named(name, wrong, said, seed):
    torch.manual_seed(seed)
    assert getattr(checks, name)(wrong).message.startswith(said)


@pytest.mark.parametrize("filled", [-1.0, -2.0, -10.0])
def test_a_hinge_whose_true_pairs_get_a_number_is_refused(filled):
    def by_a_number(scores, margin, true):
        wrong = scores.masked_fill(true, filled)
        hardest = torch.stack([wrong.amax(1), wrong.amax(0)])
        return torch.relu(margin - scores.diagonal() + hardest)

    torch.manual_seed(0)
    assert not checks.hardest_costs(by_a_number)


@pytest.mark.parametrize("filled", [0.0, -10.0, -100.0, -200.0])
def test_a_number_in_place_of_minus_infinity_is_refused(filled):
    torch.manual_seed(0)
    assert not checks.masked_pool(pool_by_a_number(filled))


@pytest.mark.parametrize("name", ["block_shares", "split_attention"])
def test_half_of_the_positions_never_stands_for_the_regions(name):
    check = getattr(checks, name)

    def by_halves(first, second, regions):
        return check.reference(first, second, first.shape[1] // 2)

    for seed in range(60):  # a draw in which it is right is one in nine, all of them now and then
        torch.manual_seed(seed)
        assert not check(by_halves)


def test_the_order_that_the_check_asks_for_is_that_of_the_matcher():
    torch.manual_seed(0)
    matcher = Matcher(matching.small()).eval()
    regions = Regions(torch.randn(9, 2, 2112), torch.rand(9, 2, 4), torch.ones(9, 2).bool())
    with torch.no_grad():
        images, texts = matcher.encode_image(regions), matcher.encode_text(["a red star"])
        cheap = matcher.cheap_scores(images, texts)[:, 0]
        alone = matcher.scores(images, texts, top=4, of="pictures")[:, 0]

        def joint(rows):
            same = texts.take(torch.zeros(len(rows), dtype=torch.long))
            return matcher.pair_scores(images.take(rows), same)

        order = rerank_by_lists(cheap, joint, 4)
    assert order.tolist() == alone.argsort(descending=True).tolist()
