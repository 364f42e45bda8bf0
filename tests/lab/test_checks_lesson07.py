"""The checks of lesson 07 pass what is right, however it is written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def loss_by_cross_entropy(image, text, scale):
    logits = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def loss_by_logsumexp(image, text, scale):
    image = image / image.square().sum(1, keepdim=True).sqrt()
    text = text / text.norm(dim=1, keepdim=True)
    logits = image @ (scale * text).T
    return ((logits.logsumexp(1) + logits.logsumexp(0)) / 2 - logits.diagonal()).mean()


def scale_by_minimum(logit_scale, gradient, lr):
    return torch.minimum(logit_scale - lr * gradient, torch.tensor(math.log(100)))


def scale_through_the_scale(logit_scale, gradient, lr):
    return (logit_scale.exp() * (-lr * gradient).exp()).clamp(max=100).log()


def distinct_by_masking(image, text, scale, same):
    own = torch.arange(len(image))
    doubles = same.clone()
    doubles[own, own] = False
    logits = (scale * image @ text.T).masked_fill(doubles, float("-inf"))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def distinct_by_sums(image, text, scale, same):
    e = (scale * image @ text.T).exp()
    counts = ~same | torch.eye(len(e), dtype=torch.bool)
    rows = e.diagonal() / (e * counts).sum(1)
    columns = e.diagonal() / (e * counts).sum(0)
    return -(rows.log() + columns.log()).mean() / 2


def distinct_by_logsumexp(image, text, scale, same):
    logits = scale * image @ text.T
    counts = torch.where(same & ~torch.eye(len(image), dtype=torch.bool), -torch.inf, 0.0)
    both = (logits + counts).logsumexp(1) + (logits + counts).logsumexp(0)
    return (both / 2 - logits.diagonal()).mean()


def end_by_comparison(states, tokens, end):
    places = (tokens == end).int().argmax(1)
    return states[torch.arange(len(states)), places]


def end_by_the_largest_number(states, tokens, end):
    places = tokens.argmax(1)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, places)[:, 0]


def end_row_by_row(states, tokens, end):
    return torch.stack([rows[row.tolist().index(end)] for rows, row in zip(states, tokens)])


def ensemble_by_mean(features):
    return F.normalize(F.normalize(features, dim=2).mean(1), dim=1)


def ensemble_by_sum(features):
    total = sum(each / each.norm(dim=1, keepdim=True) for each in features.unbind(1))
    return total / total.norm(dim=1, keepdim=True)


def recall_by_topk(similarity, k):
    own = torch.arange(len(similarity))[:, None]
    return (similarity.topk(k, dim=1).indices == own).any(1).double().mean().item()


def recall_by_rank(similarity, k):
    return ((similarity >= similarity.diagonal()[:, None]).sum(1) <= k).float().mean()


def recall_by_others(similarity, k):
    others = similarity.masked_fill(torch.eye(len(similarity), dtype=torch.bool), -torch.inf)
    return ((others >= similarity.diagonal()[:, None]).sum(1) < k).double().mean().item()


RIGHT = {
    "clip_loss": [loss_by_cross_entropy, loss_by_logsumexp],
    "step_scale": [scale_by_minimum, scale_through_the_scale],
    "distinct_loss": [distinct_by_masking, distinct_by_logsumexp],
    "end_state": [end_by_comparison, end_row_by_row],
    "ensemble": [ensemble_by_mean, ensemble_by_sum],
    "recall_at_k": [recall_by_rank, recall_by_others],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_a_loss_by_exponentials_is_told_each_time_that_they_leave_float32():
    verdicts = {checks.distinct_loss(distinct_by_sums).mistake for _ in range(20)}
    assert len(verdicts) == 1
    assert "leave float32" in verdicts.pop()


@pytest.mark.parametrize(
    "cut",
    [
        lambda loss: loss.item(),
        lambda loss: loss.detach(),
        lambda loss: loss.data,
        lambda loss: float(loss.detach()),
        lambda loss: torch.tensor(loss.item(), requires_grad=True),
    ],
)
@pytest.mark.parametrize("name", ["clip_loss", "distinct_loss"])
def test_a_loss_without_its_gradient_is_refused(name, cut):
    result = getattr(checks, name)(lambda *args: cut(RIGHT[name][0](*args)))
    assert result.status == "mistake"
    assert "gradient" in result.message


def test_a_loss_that_detaches_one_of_its_sides_is_told_which():
    result = checks.clip_loss(lambda i, t, s: loss_by_cross_entropy(i, t.detach(), s))
    assert "no gradient reaches `text`" in result.mistake


def test_the_exponential_of_a_scale_is_named():
    def by_exp(image, text, scale):
        return loss_by_cross_entropy(image, text, math.exp(scale))

    assert "as if it were its logarithm" in checks.clip_loss(by_exp).mistake


def test_the_largest_token_is_not_the_end_token():
    assert "largest token" in checks.end_state(end_by_the_largest_number).mistake


@pytest.mark.parametrize("end", [9, 15, 30])
def test_an_end_token_by_heart_is_refused(end):
    def by_heart(states, tokens, _):
        return end_by_comparison(states, tokens, end)

    assert not checks.end_state(by_heart)


def test_whoever_spoils_the_mask_is_told():
    def in_place(image, text, scale, same):
        same.fill_diagonal_(False)
        return distinct_by_masking(image, text, scale, same)

    assert "'same'" in checks.distinct_loss(in_place).message


def test_recall_with_its_rows_and_columns_exchanged_is_told_in_words():
    result = checks.recall_at_k(lambda similarity, k: recall_by_rank(similarity.T, k))
    assert "down the columns" in result.mistake


def test_recall_that_does_not_see_ties_is_told():
    assert "A tie counts as wrong" in checks.recall_at_k(recall_by_topk).mistake


def test_a_scale_that_is_kept_above_1_is_refused():
    def above(logit_scale, gradient, lr):
        return scale_by_minimum(logit_scale, gradient, lr).clamp(min=0)

    assert not checks.step_scale(above)


def test_the_state_of_a_single_text_keeps_its_batch_dimension():
    def squeezed(states, tokens, end):
        places = (tokens == end).int().argmax(1)[:, None, None]
        return states.gather(1, places.expand(-1, 1, states.shape[2])).squeeze()

    for seed in range(3):
        torch.manual_seed(seed)
        assert "squeeze()" in checks.end_state(squeezed).mistake
