"""The checks of lesson 09 on pictures beside x: known pixels, and a smaller picture."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.data.pictures import quantize
from labkit.denoiser import MapX0, Prediction, from_x0, keep_known
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, random_schedule, size, sizes, turn, whole
from labkit.schedule import NoiseSchedule
from labkit.systems.glide import GLIDE


def _beside(beside: dict[str, int], side: int, **given) -> Tensor:
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


def _inpaint_entrance(x: Tensor, image: Tensor, mask: Tensor, weight: Tensor):
    C = x.shape[1]
    beside = _beside({"known": C, "mask": 1}, x.shape[-1], known=image, mask=mask)
    zeros = weight.new_zeros(weight.shape[0], C + 1, *weight.shape[2:])
    return torch.cat([x, beside], dim=1), torch.cat([weight, zeros], dim=1)


def _wrong_entrance(
    known=lambda x, image, mask: image * mask,
    shown=lambda mask: mask,
    order=lambda x, known, mask: torch.cat([x, known, mask], dim=1),
    new=torch.zeros_like,
    join=lambda old, new: torch.cat([old, new], dim=1),
):
    """The entrance in which one thing can be wrong."""

    def inpaint_entrance(x, image, mask, weight):
        inputs = order(x, known(x, image, mask), shown(mask))
        extra = weight[:, :1].repeat(1, inputs.shape[1] - weight.shape[1], 1, 1)
        return inputs, join(weight, new(extra))

    return inpaint_entrance


def _draw_entrance(g: torch.Generator):
    B, C, H, _ = sizes(g, 4)
    x, image = torch.randn(B, C, H, H, generator=g), torch.rand(B, C, H, H, generator=g) * 2 - 1
    mask = (torch.rand(B, 1, H, H, generator=g) < 0.5).float()
    mask[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    kernel = 1 + 2 * turn(g, 3)
    weight = torch.randn(size(g, 2, 6), C, kernel, kernel, generator=g)
    return x, image, mask, weight


inpaint_entrance = Check(
    "inpaint_entrance",
    reference=_inpaint_entrance,
    draw_inputs=_draw_entrance,
    mistakes={
        "The picture is not masked: in training the network would see what it has to fill in, and "
        "copy it.": _wrong_entrance(known=lambda x, image, mask: image),
        "You show the erased pixels, where the mask is 0; the known ones are image · mask.": (
            _wrong_entrance(known=lambda x, image, mask: image * (1 - mask))
        ),
        "Where nothing is known you put −1, which is black; GLIDE puts 0.": _wrong_entrance(
            known=lambda x, image, mask: torch.where(mask == 1, image, -1.0)
        ),
        "Where nothing is known you put x_t; it is there already, GLIDE puts 0.": _wrong_entrance(
            known=lambda x, image, mask: torch.where(mask == 1, image, x)
        ),
        "The mask is turned round: 1 is known.": _wrong_entrance(shown=lambda mask: 1 - mask),
        "The mask stands before the known pixels; the order is x, known, mask.": _wrong_entrance(
            order=lambda x, known, mask: torch.cat([x, mask, known], dim=1)
        ),
        "x does not come first; the old weights belong to the first channels.": _wrong_entrance(
            order=lambda x, known, mask: torch.cat([known, mask, x], dim=1)
        ),
        "The mask is not shown: a known pixel that is gray (0) would look like an erased one.": (
            _wrong_entrance(order=lambda x, known, mask: torch.cat([x, known], dim=1))
        ),
        "You replace the known pixels of x by those of the picture; x stays as noisy as it is, "
        "the known ones stand beside it.": _wrong_entrance(
            order=lambda x, known, mask: torch.cat([x * (1 - mask) + known, known, mask], dim=1)
        ),
        "The new weights are copies of old ones; with zeros the network first does what it did "
        "before.": _wrong_entrance(new=lambda extra: extra),
        "The new weights are ones; with zeros the network first does what it did before.": (
            _wrong_entrance(new=torch.ones_like)
        ),
        "The new weights stand before the old ones, which then see other channels.": (
            _wrong_entrance(join=lambda old, new: torch.cat([new, old], dim=1))
        ),
        "All weights are zero; the old ones stay.": _wrong_entrance(
            join=lambda old, new: torch.cat([0 * old, new], dim=1)
        ),
        "The old weights are divided among all channels; they stay as they are.": _wrong_entrance(
            join=lambda old, new: torch.cat([old * old.shape[1] / (2 * old.shape[1] + 1), new], 1)
        ),
    },
    against=GLIDE.beside,
)


# Known pixels are held at every step.


class _Says:
    """A denoiser that has already answered."""

    def __init__(self, schedule: NoiseSchedule, x0: Tensor):
        self.schedule, self.x0 = schedule, x0

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_x0(self.schedule, x, t, self.x0)


def _hold_known(
    schedule: NoiseSchedule, x: Tensor, t: int, x0: Tensor, image: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    pred = MapX0(_Says(schedule, x0), keep_known(image, mask))(x, t)
    return pred.x0, pred.eps


def _mix(mask: Tensor, known: Tensor, free: Tensor) -> Tensor:
    return mask * known + (1 - mask) * free


def _wrong_hold(
    held=lambda schedule, x, t, x0, image, mask: _mix(mask, image, x0),
    says=lambda held, x0: held,
):
    """Held pixels in which one thing can be wrong; says: which x0 the eps belongs to."""

    def hold_known(*given):
        schedule, x, t, x0, *_ = given
        kept = held(*given)
        return kept, from_x0(schedule, x, t, says(kept, x0)).eps

    return hold_known


def _noised(schedule: NoiseSchedule, x: Tensor, t: int, x0: Tensor, image: Tensor, mask: Tensor):
    """The known pixels in the noise that the prediction finds."""
    eps = from_x0(schedule, x, t, x0).eps
    return schedule.diffuse(image.expand_as(x), t, eps)


def _draw_hold(g: torch.Generator):
    B, C, H, W = sizes(g, 4)
    schedule, t = random_schedule(g), whole(5, 30, g)
    x = torch.randn(B, C, H, W, generator=g)
    x0, image = (torch.rand(n, C, H, W, generator=g) * 2 - 1 for n in (B, B))
    mask = (torch.rand(B, 1, H, W, generator=g) < 0.5).float()
    mask[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    return schedule, x, t, x0, image, mask


hold_known = Check(
    "hold_known",
    reference=_hold_known,
    draw_inputs=_draw_hold,
    mistakes={
        "The mask is turned round: 1 is known, and there the picture stays.": _wrong_hold(
            lambda schedule, x, t, x0, image, mask: _mix(1 - mask, image, x0)
        ),
        "eps still belongs to the old x̂0: compute it again from the new one, or DDIM steps towards "
        "the old picture.": _wrong_hold(says=lambda held, x0: x0),
        "You put known pixels with noise into the guess; x̂0 is the clean picture, so the clean "
        "pixels belong there.": _wrong_hold(
            lambda *given: _mix(given[-1], _noised(*given), given[3])
        ),
        "You put x_t where nothing is known; the guess x̂0 stays there.": _wrong_hold(
            lambda schedule, x, t, x0, image, mask: _mix(mask, image, x)
        ),
        "The known pixels are half the picture and half the guess; they are known.": _wrong_hold(
            lambda schedule, x, t, x0, image, mask: _mix(mask, (image + x0) / 2, x0)
        ),
        "The free pixels are 0; the guess stays there.": _wrong_hold(
            lambda schedule, x, t, x0, image, mask: mask * image
        ),
        "Every row is held to the first picture; each has its own.": _wrong_hold(
            lambda schedule, x, t, x0, image, mask: _mix(mask, image[:1], x0)
        ),
        "Nothing is held: the guess comes back as it was.": _wrong_hold(
            lambda schedule, x, t, x0, image, mask: x0
        ),
    },
    tolerance=1e-4,  # what is small is divided by √(1−ᾱ_t)
    against=MapX0,
)


# A smaller picture beside x.


def _low_beside(x: Tensor, low: Tensor) -> Tensor:
    C, side = x.shape[1], x.shape[-1]
    return torch.cat([x, _beside({"low": C}, side, low=quantize(low))], dim=1)


def _larger(low: Tensor, side: int, mode: str = "bilinear", **options) -> Tensor:
    return F.interpolate(low, size=(side, side), mode=mode, **options)


def _wrong_low(
    rounded: Callable[[Tensor], Tensor] = quantize,
    larger: Callable[[Tensor, int], Tensor] = _larger,
    after: Callable[[Tensor], Tensor] = lambda low: low,
    order=lambda x, low: torch.cat([x, low], dim=1),
):
    """The upsampler's input in which one thing can be wrong."""
    return lambda x, low: order(x, after(larger(rounded(low), x.shape[-1])))


def _levels(low: Tensor) -> Tensor:
    return (low + 1) * 127.5


def _draw_low(g: torch.Generator):
    """Pictures whose smaller form leaves [−1, 1] here and there, as samples do."""
    B, C, _ = sizes(g, 3)
    side, times = size(g, 3, 6), 2 + turn(g, 2)
    low = torch.rand(B, C, side, side, generator=g) * 2 - 1
    low[0, 0, 0, :2] = torch.tensor([between(1.1, 1.4, g), between(-1.4, -1.1, g)])
    return torch.randn(B, C, times * side, times * side, generator=g), low


low_beside = Check(
    "low_beside",
    reference=_low_beside,
    draw_inputs=_draw_low,
    mistakes={
        "The small picture is not rounded to the 256 levels of a file, as it was in training.": (
            _wrong_low(lambda low: low.clamp(-1, 1))
        ),
        "The small picture is neither rounded nor cut off at [−1, 1].": _wrong_low(lambda low: low),
        "What lies outside [−1, 1] is not cut off: a file holds the levels 0 … 255.": _wrong_low(
            lambda low: _levels(low).round() / 127.5 - 1
        ),
        "You cut the levels' fractions off; round them to the nearest one.": _wrong_low(
            lambda low: _levels(low).floor().clamp(0, 255) / 127.5 - 1
        ),
        "You take 128 levels for half of the range, so that 1 becomes 256; 255 levels span "
        "[−1, 1]: (low + 1) · 127.5.": _wrong_low(
            lambda low: ((low + 1) * 128).round().clamp(0, 255) / 128 - 1
        ),
        "You round after making the picture large; first it is rounded, as a file of its own "
        "size.": _wrong_low(lambda low: low, after=quantize),
        "You repeat pixels (nearest); make the picture large by bilinear interpolation.": (
            _wrong_low(larger=lambda low, side: _larger(low, side, "nearest"))
        ),
        "You interpolate by cubic curves, which overshoot; GLIDE interpolates bilinearly.": (
            _wrong_low(larger=lambda low, side: _larger(low, side, "bicubic"))
        ),
        "With align_corners=True the outer pixels' centers meet, which shifts the picture; leave "
        "it out.": _wrong_low(larger=lambda low, side: _larger(low, side, align_corners=True)),
        "The small picture stands before x; x comes first.": _wrong_low(
            order=lambda x, low: torch.cat([low, x], dim=1)
        ),
        "You add the small picture to x; it stands beside it, in channels of its own.": _wrong_low(
            order=lambda x, low: x + low
        ),
    },
    against=GLIDE.beside,
)
