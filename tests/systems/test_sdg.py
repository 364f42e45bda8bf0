"""Semantic guidance: the scores by their formulas, the encoder's training, the whole system."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.guidance import ScoreGuidance
from labkit.nets.resnet import ResNet, ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.systems.sdg import SDG, NoisyCLIP, NoisyCLIPConfig, gram, weighted

TOWER = ResNetConfig(size=16, width=8, blocks=(1, 1), heads=4, stem=1)
WORDS = TextConfig(vocabulary=1009, context=32, width=16, depth=1, heads=2, end=1008)


@pytest.fixture
def clip():
    torch.manual_seed(0)
    made = CLIP(CLIPConfig(TOWER, WORDS, 6)).eval()
    for parameter in made.image.parameters():  # silent branches would hide much
        nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture
def guide(clip):
    torch.manual_seed(1)
    made = NoisyCLIP(NoisyCLIPConfig(TOWER, 6, hidden=8)).eval()
    made.begin_from(clip)
    for name, parameter in made.net.named_parameters():
        if "modulation" in name:
            nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture
def system(clip, guide):
    torch.manual_seed(2)
    net = UNetConfig(size=16, width=8, multipliers=(1,), blocks=1, attention=(), groups=4, fold=4)
    model = DDPM(DDPMConfig(net, predicts="x0")).eval()
    for parameter in model.parameters():  # untrained, it would draw gray whatever steers it
        nn.init.normal_(parameter, std=0.2)
    return SDG(model, guide, clip)


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_begun_from_a_clip_it_is_that_clip_s_own_tower(clip):
    clean = NoisyCLIP.clean(clip)
    x = pictures(4)
    for t in (1, 1000):
        torch.testing.assert_close(clean.encode(x, t), clip.encode_image(x))


def test_language_is_the_cosine_with_the_sentence_and_needs_no_bounds_on_the_picture(clip, guide):
    x, vectors = 3 * torch.randn(3, 3, 16, 16), clip.encode_text(["a red star"])
    score = guide.language(vectors)(x, 700)
    expected = F.cosine_similarity(guide.net(*guide.seen(x, 700)), vectors.expand(3, -1))
    torch.testing.assert_close(score, expected)
    assert guide.language(clip.encode_text(["a star"] * 3))(x, 7).shape == (3,)


def test_a_picture_has_its_own_content_structure_and_style_where_there_is_no_noise(guide):
    guide.schedule = quiet(guide.schedule)
    x = pictures(2)
    torch.testing.assert_close(guide.content(x)(x, 1), torch.ones(2), rtol=1e-3, atol=1e-3)
    for score in (guide.structure(x), guide.style(x)):
        own, other = score(x, 1), score(x.flip(0), 1)
        assert (other < 0).all() and (own.abs() < 1e-3 * other.abs()).all()


def quiet(schedule):
    """Hardly any noise at t = 1."""
    table = schedule.alpha_bar.clone()
    table[1] = 1 - 1e-9
    return type(schedule)(table)


def test_the_reference_is_noised_to_the_time_that_the_guide_is_asked_about(guide):
    """By the formula, with the same noise drawn a second time."""
    x, reference = torch.randn(2, 3, 16, 16), pictures(1, seed=3)
    eps = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    noised = guide.schedule.diffuse(reference.expand(2, -1, -1, -1), 400, eps)
    draw = lambda: torch.Generator().manual_seed(9)  # noqa: E731

    content = (guide.encode(x, 400) * guide.encode(noised, 400)).sum(1)
    torch.testing.assert_close(guide.content(reference, draw())(x, 400), content)
    structure, style = torch.zeros(2), torch.zeros(2)
    for own, other in zip(guide.maps(x, 400), guide.maps(noised, 400), strict=True):
        for row in range(2):
            structure[row] -= (own[row] - other[row]).square().mean()
            g, h = (
                torch.einsum("chw,dhw->cd", m[row], m[row]) / m[row].numel() for m in (own, other)
            )
            style[row] -= torch.linalg.matrix_norm(g - h) ** 2
    torch.testing.assert_close(guide.structure(reference, draw())(x, 400), structure)
    torch.testing.assert_close(guide.style(reference, draw())(x, 400), style)


def test_every_look_brings_new_noise(guide):
    score, x = guide.content(pictures(1)), pictures(1, seed=1)
    assert score(x, 500) != score(x, 500)


def test_the_gram_matrix_forgets_where_and_never_mixes_pictures():
    maps = torch.randn(3, 5, 4, 4, dtype=torch.float64)
    shuffled = maps.flatten(2)[..., torch.randperm(16)].view_as(maps)
    torch.testing.assert_close(gram(maps), gram(shuffled))
    torch.testing.assert_close(gram(maps)[1:2], gram(maps[1:2]))


@pytest.mark.parametrize("name", ["language", "content", "structure", "style"])
def test_its_gradient_is_what_finite_differences_say_and_each_row_s_own(guide, clip, name):
    guide.double()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    way = torch.randn(3, 16, 16, dtype=torch.float64)

    def score(x):  # the same noise at every call
        if name == "language":
            return guide.language(clip.encode_text(["a star"]).detach())(x, 300)
        draw = torch.Generator().manual_seed(4)
        return getattr(guide, name)(pictures(1, seed=5).double(), draw)(x, 300)

    (slope,) = torch.autograd.grad(score(x).sum(), x)
    step = 1e-5
    with torch.no_grad():
        up, down = (score(x + sign * step * torch.stack([way, 0 * way])) for sign in (1, -1))
    ahead = (up - down) / (2 * step)
    assert ahead[0].item() == pytest.approx((slope[0] * way).sum().item(), rel=1e-3, abs=1e-9)
    assert ahead[1] == 0


def test_the_sum_of_scores_is_weighted(guide):
    one, two = (lambda x, t: x.flatten(1).sum(1)), (lambda x, t: x[:, 0, 0, 0])
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(
        weighted((2.0, one), (-3.0, two))(x, 5), 2 * one(x, 5) - 3 * two(x, 5)
    )
    with pytest.raises(ValueError, match="no term"):
        weighted()
    with pytest.raises(ValueError, match="weight of a score is nan"):
        weighted((float("nan"), one))


def test_training_asks_which_noisy_picture_belongs_to_which_clean_one(guide, clip):
    x = pictures(8)
    targets = clip.encode_image(x).detach()
    torch.manual_seed(5)
    t = torch.randint(1, 1001, (8,))
    noised = guide.schedule.diffuse(x, t, torch.randn_like(x))
    logits = 100 * guide.encode(noised, t) @ targets.T
    own = torch.arange(8)
    torch.manual_seed(5)
    torch.testing.assert_close(
        guide.loss((x, targets)), F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
    )


def test_without_any_weight_the_model_draws_what_it_draws_anyway(system):
    *_, free = system.model.generate(2, steps=3, seed=4)
    *_, guided = system.generate(2, steps=3, seed=4)
    *_, silent = system.generate(["a star", "a moon"], scale=0, steps=3, seed=4)
    assert torch.equal(free.x, guided.x) and torch.equal(free.x, silent.x)


ALL_FOUR = {"scale": 5.0, "content": 4.0, "structure": 3.0, "style": 2.0}


@pytest.mark.parametrize("left_out", [None, *ALL_FOUR])
def test_all_four_scores_steer_at_once_and_the_seed_decides(system, left_out):
    def draw(seed, **asked):
        *_, last = system.generate(["a star"], reference=pictures(1), seed=seed, steps=2, **asked)
        return last.x

    whole = draw(1, **ALL_FOUR)
    if left_out:
        assert not torch.allclose(whole, draw(1, **ALL_FOUR | {left_out: 0.0}), atol=1e-5)
    else:
        assert torch.equal(whole, draw(1, **ALL_FOUR))
        assert not torch.equal(whole, draw(2, **ALL_FOUR))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_reference_never_wears_the_sampler_s_own_noise(system, monkeypatch, eta):
    thrown, plain = [], torch.randn

    def listening(*args, **options):
        thrown.append(plain(*args, **options))
        return thrown[-1]

    monkeypatch.setattr(torch, "randn", listening)
    list(system.generate(1, reference=pictures(1), content=2.0, steps=3, eta=eta))
    seen = [noise.flatten() for noise in thrown if noise.shape == (1, 3, 16, 16)]
    assert len(seen) >= 4  # the start, and a look in each of three steps
    assert not any(torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_a_sentence_alone_is_one_picture(system):
    *_, one = system.generate("a red star", scale=7.0, steps=2)
    *_, listed = system.generate(["a red star"], scale=7.0, steps=2)
    assert torch.equal(one.x, listed.x)


def test_model_and_guide_must_know_the_same_noise(system, clip):
    other = NoisyCLIP(NoisyCLIPConfig(TOWER, 6, hidden=8, schedule="linear"))
    with pytest.raises(ValueError, match="another noise schedule"):
        SDG(system.model, other, clip)
    assert NoisyCLIP.clean(clip, "linear", 50).schedule.T == 50


def test_it_composes_score_guidance_and_clips(system):
    *_, made = system.generate(["a red star"], scale=7.0, steps=2, seed=3)
    score = system.guide.language(system.clip.encode_text(["a red star"]).detach())
    denoise = ScoreGuidance(system.model.denoiser, score, 7.0)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    table = denoise.schedule
    times = table.timesteps(2)
    for t, s in zip(times, times[1:], strict=False):
        x0 = denoise(x, t).x0.clamp(-1, 1)
        eps = (x - table.signal(t, x) * x0) / table.noise(t, x)
        x = table.signal(s, x) * x0 + table.noise(s, x) * eps
    torch.testing.assert_close(made.x, x.detach(), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_asked_for_gets_a_sentence(system, guide, clip):
    with pytest.raises(ValueError, match="give a reference"):
        system.generate(1, style=2.0)
    with pytest.raises(ValueError, match="the weight of content is nan"):
        system.generate(1, content=float("nan"), reference=pictures(1))
    with pytest.raises(ValueError, match="never read"):
        system.generate(["a zebra"])
    with pytest.raises(ValueError, match=r"looks at \(B, 3, 16, 16\)"):
        guide.encode(torch.randn(1, 3, 8, 8), 4)
    with pytest.raises(ValueError, match=r"pictures lie in \[-1, 1\]"):
        system.generate(1, content=1.0, reference=100 * pictures(1))
    with pytest.raises(ValueError, match="references of shape"):
        system.generate(1, content=1.0, reference=pictures(1)[:, :, :8, :8])
    with pytest.raises(ValueError, match="references of shape"):
        guide.content(pictures(1)[:, :1])
    with pytest.raises(ValueError, match="2 references for 3 pictures"):
        system.generate(3, content=1.0, reference=pictures(2))
    with pytest.raises(ValueError, match="all weigh 0"):
        system.generate(["a star"], reference=pictures(1))
    with pytest.raises(ValueError, match="only a ResNet"):
        NoisyCLIPConfig(ViTConfig(size=16, patch=8, width=16, depth=1, heads=2), 6)
    with pytest.raises(ValueError, match="of the same configuration"):
        NoisyCLIP(NoisyCLIPConfig(TOWER, 7)).begin_from(clip)


def test_a_number_of_pictures_may_come_as_numpy_s_own(system):
    *_, last = system.generate(np.int64(2), steps=2)
    assert len(last.x) == 2


def test_an_encoder_begins_with_the_draws_that_it_began_with_without_the_norms_that_hear():
    torch.manual_seed(3)
    plain = ResNet(TOWER, 6)
    first = torch.nn.Linear(128, 8)
    torch.manual_seed(3)
    made = NoisyCLIP(NoisyCLIPConfig(TOWER, 6, hidden=8))
    assert torch.equal(made.net.time[0].weight, first.weight)
    assert torch.equal(made.net.net.pool.qkv.weight, plain.pool.qkv.weight)
