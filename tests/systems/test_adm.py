"""ADM on a tiny network: labels, the null, guides, and what they refuse."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from labkit.nets.noisy_classifier import NoisyClassifierConfig
from labkit.nets.unet import UNet, UNetConfig
from labkit.sampler import ddpm
from labkit.systems.adm import ADM, ADMConfig, NoisyGuide, NoisyGuideConfig

NET = UNetConfig(
    size=8, channels=1, width=16, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=16,
    groups=8, scale_shift_norm=True, residual_resampling=True, learned_variance=True, vector=3,
)  # fmt: skip
CONFIG = ADMConfig(NET, T=50)
GUIDE = NoisyGuideConfig(
    NoisyClassifierConfig(replace(NET, vector=None, learned_variance=False), 3, 16), T=50
)


def shaken(module, seed=0):
    """The module with every parameter drawn anew: zero-initialised branches would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def last(states):
    *_, state = states
    return state.x


@pytest.mark.parametrize(
    ("size", "width", "multipliers", "blocks", "heads", "millions"),
    [
        (64, 192, (1, 2, 3, 4), 3, {"head_channels": 64}, 295.9),
        (128, 256, (1, 1, 2, 3, 4), 2, {"heads": 4}, 421.5),
        (256, 256, (1, 1, 2, 2, 4, 4), 2, {"head_channels": 64}, 553.8),
    ],
)
def test_at_the_paper_s_settings_it_has_the_paper_s_size(
    size, width, multipliers, blocks, heads, millions
):
    config = UNetConfig(
        size=size, width=width, multipliers=multipliers, blocks=blocks, attention=(32, 16, 8),
        scale_shift_norm=True, residual_resampling=True, learned_variance=True, vector=1000,
        **heads,
    )  # fmt: skip
    with torch.device("meta"):
        net = UNet(config)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_class_matters_and_none_is_the_null():
    system = shaken(ADM(CONFIG))
    free = {"steps": 3, "map_x0": torch.tanh}  # clipped, an untrained model is black or white
    a, b, null = (last(system.generate([label], **free)) for label in (0, 2, None))
    assert a.shape == (1, 1, 8, 8)
    assert not torch.allclose(a, b)
    assert torch.equal(null, last(system.generate([1], scale=0.0, **free)))


def test_a_batch_of_labels_is_its_rows():
    system = shaken(ADM(CONFIG))
    cond = system.encode(torch.tensor([2, 0]))
    assert cond.vector.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert system.encode([None]).vector.tolist() == system.null.vector.tolist()


def test_the_same_seed_gives_the_same_pictures():
    system = shaken(ADM(CONFIG))
    runs = [last(system.generate([0, 1], steps=4, seed=seed, step=ddpm)) for seed in (5, 5, 6)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_training_drops_the_stated_share_of_classes():
    heard = []
    system = ADM(replace(CONFIG, p_uncond=0.3))
    system.denoiser.net.register_forward_pre_hook(lambda net, args: heard.append(args[2].vector))
    torch.manual_seed(0)
    system.loss((torch.zeros(3000, 1, 8, 8), torch.ones(3000, dtype=torch.long)))
    share = (heard[0].sum(1) == 0).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.03)
    assert torch.equal(heard[0][heard[0].sum(1) > 0].unique(dim=0), torch.eye(3)[1:2])


def test_the_loss_reaches_every_weight():
    system = shaken(ADM(CONFIG)).train()
    system.loss((torch.rand(8, 1, 8, 8), torch.arange(8) % 3)).backward()
    silent = [name for name, p in system.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_guide_answers_per_row_and_pulls_towards_its_label():
    guide = shaken(NoisyGuide(GUIDE))
    x = torch.randn(4, 1, 8, 8)
    log_prob = guide.log_prob([0, 1, 2, 1])
    assert log_prob(x, 20).shape == (4,)
    logits = guide.net(x, torch.full((4,), 20))
    expected = logits.log_softmax(1)[torch.arange(4), torch.tensor([0, 1, 2, 1])]
    torch.testing.assert_close(log_prob(x, 20), expected)
    system = shaken(ADM(CONFIG))
    sure = []
    for scale in (0.0, 20.0):
        x = last(system.generate([1] * 16, steps=10, guide=guide, guide_scale=scale))
        sure.append(guide.log_prob([1])(x, 1).mean().item())
    assert sure[1] > sure[0]


def test_the_guide_learns_to_read_noise():
    torch.manual_seed(0)
    guide = NoisyGuide(GUIDE)
    pictures = torch.stack([torch.full((1, 8, 8), value) for value in (-0.8, 0.0, 0.8)])
    labels = torch.arange(3).repeat(16)
    optimizer = torch.optim.Adam(guide.parameters(), 2e-3)
    for _ in range(60):
        loss = guide.loss((pictures[labels], labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.75  # of ln 3 = 1.10 for a guess; late times say nothing


def test_configs_come_back_from_json():
    assert ADMConfig(**asdict(CONFIG)) == CONFIG
    assert NoisyGuideConfig(**asdict(GUIDE)) == GUIDE


@pytest.mark.parametrize("labels", [[3], [-1], [0.5], ["one"], [True], torch.zeros(2, 2).long()])
def test_labels_out_of_range_get_a_sentence(labels):
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        ADM(CONFIG).generate(labels)


def test_what_cannot_guide_gets_a_sentence():
    system = ADM(replace(CONFIG, p_uncond=0.0))
    with pytest.raises(ValueError, match="never trained without its class"):
        system.generate([0], scale=3.0)
    other = NoisyGuide(replace(GUIDE, net=replace(GUIDE.net, classes=7)))
    with pytest.raises(ValueError, match="guide knows 7 classes, but the model 3"):
        system.generate([0], guide=other)
    with pytest.raises(ValueError, match="scale is nan"):
        ADM(CONFIG).generate([0], scale=float("nan"))
    with pytest.raises(ValueError, match="number of classes"):
        ADMConfig(replace(NET, vector=None))
    with pytest.raises(ValueError, match="pictures lie in"):
        ADM(CONFIG).loss((torch.full((2, 1, 8, 8), 255.0), torch.tensor([0, 1])))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_system_of_another_dtype_draws_in_it(dtype):
    system = ADM(CONFIG).eval().to(dtype)
    *_, last = system.generate([0, None], steps=2, scale=2.0)
    assert last.x.dtype == dtype and last.x.isfinite().all()


@pytest.mark.parametrize("t", [0, 51, torch.tensor([1, 60]), 2.5])
def test_a_guide_asked_about_no_time_of_its_own_says_so(t):
    with pytest.raises(ValueError, match="(time t|times go)"):
        NoisyGuide(GUIDE).log_prob([0, 1])(torch.zeros(2, 1, 8, 8), t)


def test_labels_may_come_as_numpy_s_own(seed=0):
    numbers = np.array([2, 0, 1])[::-1]
    assert ADM(CONFIG).encode(numbers).vector.argmax(1).tolist() == [1, 0, 2]
