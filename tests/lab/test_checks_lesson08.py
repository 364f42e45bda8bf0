"""The checks of lesson 08 pass what is right, however it is written, and name what is wrong."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.lab import checks
from labkit.nets.noisy_resnet import NoisyResNet
from labkit.nets.resnet import ResNetConfig
from labkit.systems.sdg import NoisyCLIP, NoisyCLIPConfig
from tests.lab.check_soundness import assert_check_is_sound

TOWER = ResNetConfig(size=16, width=8, blocks=(1, 1), heads=4, stem=1)


def gram_by_einsum(maps):
    return torch.einsum("bchw,bdhw->bcd", maps, maps) / maps[0].numel()


def gram_picture_by_picture(maps):
    rows = [one.reshape(one.shape[0], -1) for one in maps]
    return torch.stack([row @ row.T / row.numel() for row in rows])


def content_by_hand(encode, schedule, x, t, reference, eps):
    share = schedule.alpha_bar[t].item()
    noised = share**0.5 * reference + (1 - share) ** 0.5 * eps
    return (encode(x, t) * encode(noised, t)).sum(1)


def weighted_in_a_loop(scores, weights, x, t):
    total = torch.zeros(len(x))
    for score, weight in zip(scores, weights):
        total = total + weight * score(x, t)
    return total


def weighted_by_matmul(scores, weights, x, t):
    return torch.tensor(weights) @ torch.stack([score(x, t) for score in scores])


def time_by_view(h, gamma, beta):
    shape = (*gamma.shape, 1, 1)
    return h + h * gamma.view(shape) + beta.view(shape)


def class_by_cross_entropy(images, sentences, labels):
    return -F.cross_entropy(100 * images @ sentences.T, labels, reduction="none")


def class_by_logsumexp(images, sentences, labels):
    logits = 100 * images @ sentences.T
    return logits[torch.arange(len(labels)), labels] - logits.logsumexp(1)


def eps_by_backward(eps, x, t, score, scale, alpha_bar):
    x = x.clone().requires_grad_(True)
    score(x, t).sum().backward()
    return eps - scale * (1 - alpha_bar) ** 0.5 * x.grad


def eps_by_rows(eps, x, t, score, scale, alpha_bar):
    pulls = []
    for row in x:
        with torch.enable_grad():
            row = row[None].clone().requires_grad_(True)
            pulls.append(torch.autograd.grad(score(row, t)[0], row)[0])
    return eps - scale * (1 - alpha_bar) ** 0.5 * torch.cat(pulls)


def eps_with_gradients_left_to_the_caller(eps, x, t, score, scale, alpha_bar):
    leaf = x.detach().requires_grad_()
    (pull,) = torch.autograd.grad(scale * score(leaf, t).sum(), leaf)
    return eps - (1 - alpha_bar) ** 0.5 * pull


@torch.enable_grad()
def eps_by_decorator(eps, x, t, score, scale, alpha_bar):
    return eps_with_gradients_left_to_the_caller(eps, x, t, score, scale, alpha_bar)


RIGHT = {
    "gram_matrix": [gram_by_einsum, gram_picture_by_picture],
    "content_score": [content_by_hand],
    "weighted_score": [weighted_in_a_loop, weighted_by_matmul],
    "time_norm": [time_by_view],
    "class_score": [class_by_cross_entropy, class_by_logsumexp],
    "guided_eps": [eps_by_rows, eps_by_decorator],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_backward_is_told_that_it_leaves_gradients_in_the_score():
    assert "leaves gradients behind in 'score'" in checks.guided_eps(eps_by_backward).message


def test_an_answer_that_fails_in_a_sampler_is_told_of_enable_grad():
    for _ in range(5):
        verdict = checks.guided_eps(eps_with_gradients_left_to_the_caller)
        assert verdict.status == "mistake" and "enable_grad" in verdict.mistake


def test_a_squeezed_gram_matrix_is_refused_by_its_name():
    for _ in range(5):
        assert "squeeze()" in checks.gram_matrix(lambda x: gram_by_einsum(x).squeeze()).mistake


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda cosines: (100 * cosines).softmax(1).log(), "underflow"),
        (
            lambda cosines: (
                (100 * cosines).exp() / (100 * cosines).exp().sum(1, keepdim=True)
            ).log(),
            "underflow",
        ),
        (lambda cosines: 100 * cosines.log_softmax(1), "in front of the log_softmax"),
        (lambda cosines: (33 * cosines).log_softmax(1), "another encoder"),
    ],
)
def test_a_class_score_by_another_formula_gets_the_same_name_each_time(turn, words):
    def wrong(images, sentences, labels):
        return turn(images @ sentences.T).gather(1, labels[:, None])[:, 0]

    verdicts = {checks.class_score(wrong).mistake for _ in range(30)}
    assert len(verdicts) == 1
    assert words in verdicts.pop()


def a_guess_at_a_length(eps, x, t, score, scale, alpha_bar):
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        (pull,) = torch.autograd.grad(score(x, t).sum(), x)
    pull = F.normalize(pull.flatten(1), dim=1).view_as(x)
    return eps - scale * (1 - alpha_bar) ** 0.5 * pull


def content_with(turn=lambda product: product.sum(1), share_noise=False, time=None):
    def wrong(encode, schedule, x, t, reference, eps):
        eps = eps[0].expand_as(eps) if share_noise else eps
        noised = schedule.diffuse(reference.expand_as(x), t, eps)
        return turn(encode(x, t) * encode(noised, t if time is None else time))

    return wrong


def eps_with(turn):
    def wrong(eps, x, t, score, scale, alpha_bar):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            (pull,) = torch.autograd.grad(score(x, t).sum(), x)
        return eps - scale * (1 - alpha_bar) ** 0.5 * turn(pull)

    return wrong


def content_at(of_x, of_reference, noise=True):
    """None stands for t."""

    def wrong(encode, schedule, x, t, reference, eps):
        share = schedule.alpha_bar[t].item() if noise else 1.0
        other = share**0.5 * reference + (1 - share) ** 0.5 * eps
        times = (t if time is None else time for time in (of_x, of_reference))
        return F.cosine_similarity(encode(x, next(times)), encode(other, next(times)))

    return wrong


def correlations(maps):
    return torch.stack([torch.corrcoef(rows) for rows in maps.flatten(2)])


def weighted_by(keep=lambda weight: True, time=None):
    def wrong(scores, weights, x, t):
        at = t if time is None else time
        return sum(w * score(x, at) for score, w in zip(scores, weights) if keep(w))

    return wrong


def gram_of_unit_rows(maps):
    rows = maps.flatten(2)
    rows = rows / rows.norm(dim=2, keepdim=True)
    return torch.einsum("bci,bdi->bcd", rows, rows)


def class_that_is_most_probable(images, sentences, labels):
    return (100 * images @ sentences.T).log_softmax(1).max(dim=1).values


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("guided_eps", a_guess_at_a_length, "divide the gradient by its length"),
        ("content_score", content_with(share_noise=True), "the noise of the first"),
        ("content_score", content_with(time=1), "the time 0 or 1"),
        ("content_score", content_with(lambda product: product.mean(1)), "divides each cosine"),
        ("content_score", content_with(lambda product: -product.sum(1)), "minus the cosine"),
        ("content_score", content_at(0, 0), "for both pictures, though"),
        ("content_score", content_at(1, 1), "for both pictures, though"),
        ("content_score", content_at(1, None), "0 or 1 for x_t"),
        ("content_score", content_at(0, 0, noise=False), "stays clean, and the encoder is given"),
        ("guided_eps", eps_with(lambda pull: F.normalize(pull, dim=1)), "over its channels"),
        ("guided_eps", eps_with(lambda pull: pull / pull.std()), "by its standard deviation"),
        ("guided_eps", eps_with(torch.sign), "the sign of the gradient"),
        ("gram_matrix", gram_of_unit_rows, "cosines between channels"),
        (
            "gram_matrix",
            lambda maps: gram_of_unit_rows(maps) / maps[0].numel(),
            "cosines between channels",
        ),
        ("gram_matrix", correlations, "correlations between channels"),
        ("weighted_score", weighted_by(lambda weight: weight > 0), "leave out the terms"),
        ("weighted_score", weighted_by(time=0), "at time 0 or 1"),
        ("weighted_score", weighted_by(time=1), "at time 0 or 1"),
        ("class_score", class_that_is_most_probable, "most probable class"),
    ],
)
def test_a_natural_mistake_is_named_each_time(name, wrong, words):
    for _ in range(5):
        assert words in getattr(checks, name)(wrong).mistake


def test_noise_of_one_s_own_is_told_from_the_noise_that_is_given():
    def own(encode, schedule, x, t, reference, eps):
        eps = torch.randn(x.shape)
        return content_by_hand(encode, schedule, x, t, reference, eps)

    assert "your own noise" in checks.content_score(own).mistake


@pytest.mark.parametrize("name", ["weighted_score", "gram_matrix", "content_score"])
def test_a_score_without_its_gradient_is_refused(name):
    right = RIGHT[name][0]
    assert "no gradient" in getattr(checks, name)(lambda *args: right(*args).detach()).mistake


def test_exactly_three_scores_are_not_enough():
    def three(scores, weights, x, t):
        return sum(weights[i] * scores[i](x, t) for i in range(3))

    assert not checks.weighted_score(three)


def test_the_content_score_of_the_exercise_is_the_guide_s_own():
    guide = NoisyCLIP(NoisyCLIPConfig(TOWER, 6, hidden=8)).eval()
    x, reference = torch.randn(2, 3, 16, 16), torch.rand(1, 3, 16, 16) * 2 - 1
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    own = guide.content(reference, torch.Generator().manual_seed(5))(x, 400)
    asked = checks.content_score.reference(guide.encode, guide.schedule, x, 400, reference, eps)
    torch.testing.assert_close(own, asked)


def test_the_norm_of_the_exercise_is_the_encoder_s_own():
    net = NoisyResNet(TOWER, 6, hidden=8).eval()
    norm = net.net.stem[1]
    nn.init.normal_(norm.modulation.weight)
    emb = net.embedding(torch.tensor([3, 700]))
    h = torch.randn(2, norm.num_features, 4, 4)
    own = norm(h, emb)
    gammas, betas = norm.modulation(emb).chunk(2, dim=1)
    asked = checks.time_norm.reference(h / (1 + norm.eps) ** 0.5, gammas, betas)
    torch.testing.assert_close(own, asked)


def test_the_score_of_a_single_picture_keeps_its_batch_dimension():
    def squeezed(images, sentences, labels):
        table = (100 * images @ sentences.T).log_softmax(1)
        return table.gather(1, labels[:, None]).squeeze()

    for seed in range(3):
        torch.manual_seed(seed)
        assert "squeeze()" in checks.class_score(squeezed).mistake
