"""The checks of lesson 09 on inpainting: known pixels beside x, and held at every step."""

from types import SimpleNamespace

import torch
from torch import Tensor

from labkit.denoiser import MapX0, from_x0, keep_known
from labkit.lab.checks.answered import SaysX0
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import random_schedule, size, sizes, turn, whole
from labkit.schedule import NoiseSchedule
from labkit.systems.glide import GLIDE


def pictures_beside(beside: dict[str, int], side: int, **given) -> Tensor:
    """What a GLIDE of that configuration lays beside x."""
    config = SimpleNamespace(
        inpaints="known" in beside,
        upsamples=1 if "low" in beside else None,
        beside=beside,
        net=SimpleNamespace(size=side),
    )
    pictures = {name: given.get(name) for name in ("low", "known", "mask")}
    return GLIDE.beside(SimpleNamespace(config=config), **pictures)


# Seven channels at the entrance, and a first convolution that takes them.


def _side_by_side(*parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=1)


def _new(weight: Tensor) -> Tensor:
    """The zeros of the new channels, one more than x has."""
    return weight.new_zeros(len(weight), weight.shape[1] + 1, *weight.shape[2:])


def _wider(weight: Tensor) -> Tensor:
    return _side_by_side(weight, _new(weight))


def _inpaint_entrance(x: Tensor, image: Tensor, mask: Tensor, weight: Tensor):
    C = x.shape[1]
    beside = pictures_beside({"known": C, "mask": 1}, x.shape[-1], known=image, mask=mask)
    return torch.cat([x, beside], dim=1), _wider(weight)


def _laid(x: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    return _side_by_side(x, image * mask, mask)


def _known_in_x(x: Tensor, image: Tensor, mask: Tensor, weight: Tensor):
    return _laid(x * (1 - mask) + image * mask, image, mask), _wider(weight)


def _mask_not_shown(x: Tensor, image: Tensor, mask: Tensor, weight: Tensor):
    return _side_by_side(x, image * mask), _side_by_side(weight, _new(weight)[:, 1:])


def _copies(x: Tensor, image: Tensor, mask: Tensor, weight: Tensor):
    first = weight[:, :1].expand_as(_new(weight))
    return _laid(x, image, mask), _side_by_side(weight, first)


def _divided(x: Tensor, image: Tensor, mask: Tensor, weight: Tensor):
    C = weight.shape[1]
    return _laid(x, image, mask), _side_by_side(weight * C / (2 * C + 1), _new(weight))


def _known_mask(g: torch.Generator, B: int, H: int, W: int) -> Tensor:
    """A mask (B, 1, H, W), in which both occur."""
    mask = (torch.rand(B, 1, H, W, generator=g) < 0.5).float()
    mask[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    return mask


def _draw_entrance(g: torch.Generator):
    B, C, H, _ = sizes(g, 4)
    x, image = torch.randn(B, C, H, H, generator=g), torch.rand(B, C, H, H, generator=g) * 2 - 1
    mask = _known_mask(g, B, H, H)
    kernel = 1 + 2 * turn(g, 3)
    weight = torch.randn(size(g, 2, 6), C, kernel, kernel, generator=g)
    return x, image, mask, weight


inpaint_entrance = Check(
    "inpaint_entrance",
    reference=_inpaint_entrance,
    draw_inputs=_draw_entrance,
    mistakes={
        "The picture is not masked: in training the network would see what it has to fill in, and "
        "copy it.": (
            lambda x, image, mask, weight: (_side_by_side(x, image, mask), _wider(weight))
        ),
        "You show the erased pixels, where the mask is 0; the known ones are image · mask.": (
            lambda x, image, mask, weight: (
                _side_by_side(x, image * (1 - mask), mask),
                _wider(weight),
            )
        ),
        "Where nothing is known you put −1, which is black; GLIDE puts 0.": (
            lambda x, image, mask, weight: (
                _side_by_side(x, torch.where(mask == 1, image, -1.0), mask),
                _wider(weight),
            )
        ),
        "Where nothing is known you put x_t; it is there already, GLIDE puts 0.": (
            lambda x, image, mask, weight: (
                _side_by_side(x, torch.where(mask == 1, image, x), mask),
                _wider(weight),
            )
        ),
        "The mask is turned round: 1 is known.": (
            lambda x, image, mask, weight: (
                _side_by_side(x, image * mask, 1 - mask),
                _wider(weight),
            )
        ),
        "The mask stands before the known pixels; the order is x, known, mask.": (
            lambda x, image, mask, weight: (_side_by_side(x, mask, image * mask), _wider(weight))
        ),
        "x does not come first; the old weights belong to the first channels.": (
            lambda x, image, mask, weight: (_side_by_side(image * mask, mask, x), _wider(weight))
        ),
        "The mask is not shown: a known pixel that is gray (0) would look like an erased one.": (
            _mask_not_shown
        ),
        "You replace the known pixels of x by those of the picture; x stays as noisy as it is, "
        "the known ones stand beside it.": _known_in_x,
        "The new weights are copies of old ones; with zeros the network first does what it did "
        "before.": _copies,
        "The new weights are ones; with zeros the network first does what it did before.": (
            lambda x, image, mask, weight: (
                _laid(x, image, mask),
                _side_by_side(weight, _new(weight) + 1),
            )
        ),
        "The new weights stand before the old ones, which then see other channels.": (
            lambda x, image, mask, weight: (
                _laid(x, image, mask),
                _side_by_side(_new(weight), weight),
            )
        ),
        "All weights are zero; the old ones stay.": (
            lambda x, image, mask, weight: (_laid(x, image, mask), 0 * _wider(weight))
        ),
        "The old weights are divided among all channels; they stay as they are.": _divided,
    },
    against=GLIDE.beside,
)


# Known pixels are held at every step.


def _hold_known(
    schedule: NoiseSchedule, x: Tensor, t: int, x0: Tensor, image: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    pred = MapX0(SaysX0(schedule, x0), keep_known(image, mask))(x, t)
    return pred.x0, pred.eps


def _mix(mask: Tensor, known: Tensor, free: Tensor) -> Tensor:
    return mask * known + (1 - mask) * free


def _of(schedule: NoiseSchedule, x: Tensor, t: int, x0: Tensor) -> tuple[Tensor, Tensor]:
    """This x0, and the eps that belongs to it."""
    return x0, from_x0(schedule, x, t, x0).eps


def _eps_of_the_old(schedule, x, t, x0, image, mask):
    return _mix(mask, image, x0), from_x0(schedule, x, t, x0).eps


def _known_with_noise(schedule, x, t, x0, image, mask):
    eps = from_x0(schedule, x, t, x0).eps
    return _of(schedule, x, t, _mix(mask, schedule.diffuse(image, t, eps), x0))


def _draw_hold(g: torch.Generator):
    B, C, H, W = sizes(g, 4)
    schedule, t = random_schedule(g), whole(5, 30, g)
    x = torch.randn(B, C, H, W, generator=g)
    x0, image = (torch.rand(n, C, H, W, generator=g) * 2 - 1 for n in (B, B))
    x0 = 1.2 * x0  # a network's answer may lie outside [-1, 1]: to clip it is another's work
    return schedule, x, t, x0, image, _known_mask(g, B, H, W)


hold_known = Check(
    "hold_known",
    reference=_hold_known,
    draw_inputs=_draw_hold,
    mistakes={
        "The mask is turned round: 1 is known, and there the picture stays.": (
            lambda schedule, x, t, x0, image, mask: _of(schedule, x, t, _mix(1 - mask, image, x0))
        ),
        "eps still belongs to the old x̂0: compute it again from the new one, or DDIM steps towards "
        "the old picture.": _eps_of_the_old,
        "You put known pixels with noise into the guess; x̂0 is the clean picture, so the clean "
        "pixels belong there.": _known_with_noise,
        "You put x_t where nothing is known; the guess x̂0 stays there.": (
            lambda schedule, x, t, x0, image, mask: _of(schedule, x, t, _mix(mask, image, x))
        ),
        "The known pixels are half the picture and half the guess; they are known.": (
            lambda schedule, x, t, x0, image, mask: _of(
                schedule, x, t, _mix(mask, (image + x0) / 2, x0)
            )
        ),
        "The free pixels are 0; the guess stays there.": (
            lambda schedule, x, t, x0, image, mask: _of(schedule, x, t, mask * image)
        ),
        "Every row is held to the first picture; each has its own.": (
            lambda schedule, x, t, x0, image, mask: _of(schedule, x, t, _mix(mask, image[:1], x0))
        ),
        "Nothing is held: the guess comes back as it was.": (
            lambda schedule, x, t, x0, image, mask: _of(schedule, x, t, x0)
        ),
    },
    tolerance=1e-4,  # what is small is divided by √(1−ᾱ_t)
    against=MapX0,
)
