"""A perceptual loss: zero for what is right, and a gradient that no pixel loss has."""

from dataclasses import replace

import pytest
import torch

from labkit import checkpoint, scenes, train, zoo
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.systems.perceptual import PerceptualLoss

NET = UNetConfig(size=32, width=16, multipliers=(1, 1), blocks=1, attention=(), groups=8, fold=4)


@pytest.fixture(scope="module")
def clip():
    return zoo.load("clip-scenes")


@pytest.fixture(scope="module")
def pictures():
    return scenes.render(scenes.draw(6, 0, "all"), 32)


def test_it_is_zero_for_the_picture_itself_and_grows_with_blur_and_another_picture(clip, pictures):
    loss, clear = PerceptualLoss(clip, 1.0), torch.ones(6)
    blurred = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1)
    same, soft, other = (loss(x, pictures, clear) for x in (pictures, blurred, pictures.roll(1, 0)))
    assert same == 0 and 0.01 < soft < other


def test_it_weighs_each_row_by_alpha_bar_and_all_by_its_weight(clip, pictures):
    other = pictures.roll(1, 0)
    rows = [PerceptualLoss(clip, 1.0)(other[[i]], pictures[[i]], torch.ones(1)) for i in range(2)]
    both = PerceptualLoss(clip, 0.5)(other[:2], pictures[:2], torch.tensor([1.0, 0.25]))
    assert both == pytest.approx(0.5 * (rows[0] + 0.25 * rows[1]).item() / 2, rel=1e-4)


def test_its_gradient_reaches_the_prediction_and_not_the_network(clip, pictures):
    loss, guess = PerceptualLoss(clip, 1.0), pictures.roll(1, 0).requires_grad_()
    loss(guess, pictures, torch.ones(6)).backward()
    assert guess.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in loss.tower.parameters())


def test_a_system_learns_by_it_and_neither_averages_nor_saves_it(clip, tmp_path):
    system = DDPM(DDPMConfig(NET, predicts="x0"))
    names = set(system.state_dict())
    system.perceptual = PerceptualLoss(clip, 0.2)
    statistics = [buffer.clone() for buffer in clip.image.buffers()]
    batches = lambda generator: scenes.render(scenes.draw(8, generator, "all"), 32)  # noqa: E731
    torch.manual_seed(0)
    x = batches(torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    with_it = system.loss(x)
    torch.manual_seed(1)
    assert with_it > DDPM.loss(stripped(system), x)
    *_, step = train.train(system, batches, steps=2, checkpoint=tmp_path / "a.run")
    assert set(step.ema.state_dict()) == names
    assert all(map(torch.equal, statistics, clip.image.buffers()))
    assert not any("perceptual" in name for name in checkpoint.load(tmp_path / "a.run")[0])


def stripped(system):
    """The same weights without that loss."""
    plain = DDPM(system.config)
    plain.load_state_dict(system.state_dict())
    return plain


def test_a_vision_transformer_and_a_weight_below_zero_are_refused(clip):
    text = TextConfig(vocabulary=20, context=8, width=16, depth=1, heads=2, end=19)
    vit = CLIP(CLIPConfig(ViTConfig(size=32, patch=8, width=16, depth=1, heads=2), text, 8))
    with pytest.raises(ValueError, match="ResNet"):
        PerceptualLoss(vit, 0.2)
    with pytest.raises(ValueError, match="weight of the perceptual loss"):
        PerceptualLoss(clip, -1)


def test_the_clip_itself_can_still_learn(clip):
    PerceptualLoss(clip, 0.2)
    assert all(weight.requires_grad for weight in zoo.build("clip-scenes").parameters())
    fresh = zoo.build("clip-scenes")
    PerceptualLoss(fresh, 0.2)
    assert all(weight.requires_grad for weight in fresh.parameters())


def test_another_weight_or_none_is_another_run(clip, tmp_path):
    def system(weight):
        made = DDPM(DDPMConfig(NET, predicts="x0"))
        made.perceptual = PerceptualLoss(clip, weight) if weight else None
        return made

    batches = lambda generator: scenes.render(scenes.draw(2, generator, "all"), 32)  # noqa: E731
    next(train.train(system(0.2), batches, steps=2, checkpoint=tmp_path / "a.run"))
    for other in (0.5, None):
        with pytest.raises(ValueError, match="perceptual|Perceptual"):
            next(train.train(system(other), batches, steps=2, checkpoint=tmp_path / "a.run"))


def test_with_learned_variance_it_counts_as_well(clip):
    x, losses = scenes.render(scenes.draw(2, 0, "all"), 32), []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        system = DDPM(DDPMConfig(replace(NET, learned_variance=True), predicts="v"))
        system.perceptual = PerceptualLoss(clip, weight)
        torch.manual_seed(1)
        losses.append(system.loss(x).item())
    assert losses[1] > losses[0]
