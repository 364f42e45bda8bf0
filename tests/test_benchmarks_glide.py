"""The arithmetic of the benchmarks of inpainting and upsampling; they themselves run by hand."""

import torch

from benchmarks import inpainting, upsampling
from labkit import scenes
from labkit.scenes import holes
from tests.systems.test_glide import CONFIG, DISC, STAR, UPSAMPLES, awake, half_known, pictures


def share_shown(seen, truth, chosen) -> float:
    return holes.shown(seen, truth, chosen).double().mean().item()


def test_a_hole_takes_one_object_with_its_shadow_and_leaves_all_others():
    truth = inpainting.drawn(12, seed=1)
    mask, chosen = holes.around_one(truth, 32)
    assert mask.shape == (12, 1, 32, 32) and chosen.shape == (12, 1)
    others = truth.present.scatter(1, chosen, False)
    without = truth._replace(shape=torch.where(others, truth.shape, -1))
    outside = mask.bool().expand(-1, 3, -1, -1)
    gap = (scenes.render(truth, 32) - scenes.render(without, 32)).abs()
    level = 1 / 127.5  # of a file
    assert gap[outside].max() < level and (gap.amax((1, 2, 3)) > 0.1).all()


def test_what_is_asked_in_the_hole_is_found_by_its_place():
    truth = inpainting.drawn(12, seed=1)
    _, chosen = holes.around_one(truth, 32)
    assert share_shown(truth, truth, chosen) == 1
    assert share_shown(truth._replace(x=truth.x + 0.3), truth, chosen) < 0.3
    color = truth.color.scatter(1, chosen, (truth.color.gather(1, chosen) + 1) % 8)
    assert share_shown(truth._replace(color=color), truth, chosen) == 0.75
    nothing = truth._replace(shape=torch.full_like(truth.shape, -1))
    assert share_shown(nothing, truth, chosen) == 0


def test_a_jump_is_measured_across_the_border_alone():
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 4:] = 0
    picture = torch.where(mask.bool(), 0.5, 0.1).expand(1, 3, 8, 8)
    assert abs(holes.jump(picture, mask) - 0.4) < 1e-6
    rows = torch.linspace(-1, 1, 8)[:, None].expand(1, 3, 8, 8)
    assert holes.jump(rows, mask) == 0


def test_painting_without_training_keeps_known_pixels_and_repaint_takes_each_step_again():
    system, called = awake(CONFIG), []
    system.denoiser.register_forward_pre_hook(lambda module, args: called.append(int(args[1])))
    image, mask = pictures(), half_known().expand(2, -1, -1, -1)
    for times, calls in ((1, 25), (3, 3 * 24 + 1)):
        called.clear()
        painted = inpainting.repainted(system, 2.0, times)([STAR, DISC], image, mask, 0)
        assert len(called) == calls and called == sorted(called, reverse=True)
        assert torch.equal(painted[..., :8], image[..., :8])
        assert not torch.allclose(painted[..., 8:], image[..., 8:], atol=0.05)


def test_interpolation_and_the_upsampler_are_asked_alike_and_the_misfit_is_a_distance():
    system, low = awake(UPSAMPLES), pictures(size=8)
    every = upsampling.ways(system, [2])
    made = {name: enlarge(low, [STAR, DISC], 0) for name, enlarge in every.items()}
    assert {each.shape for each in made.values()} == {(2, 3, 16, 16)}
    own = next(name for name in made if "authors" in name)
    for name in ("not rounded", "no sentence", "another's sentence", "guided, scale 3"):
        assert not torch.equal(made[name], made[own])
    assert upsampling.rms(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)) == 0.5
