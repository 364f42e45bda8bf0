"""DDPM, the whole system: a U-Net that learns to tell the noise in a picture from the picture.

Training is algorithm 1 of Ho et al. 2020, sampling algorithm 2 or any other step of
`labkit.sampler`; with learned variance the loss is the hybrid one of Nichol and Dhariwal 2021.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from labkit import devices, schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser, MapX0, clip
from labkit.inputs import short, whole_number
from labkit.likelihood import training_loss
from labkit.nets.unet import UNet, UNetConfig
from labkit.sampler import State, ddim, from_noise
from labkit.systems.perceptual import PerceptualLoss


@dataclass(frozen=True)
class DDPMConfig:
    """All that there is to choose about a `DDPM`."""

    net: UNetConfig
    schedule: str = "cosine"  # a name of schedule.MAKERS
    T: int = 1000
    predicts: str = "eps"  # or "x0", or "v"

    def __post_init__(self):
        if isinstance(self.net, dict):  # from JSON
            object.__setattr__(self, "net", UNetConfig(**self.net))


def build_denoiser(config: DDPMConfig) -> Denoiser:
    """The U-Net of that configuration, read through its schedule."""
    return Denoiser(
        UNet(config.net),
        schedule.by_name(config.schedule, config.T),
        predicts=config.predicts,
        learned_variance=config.net.learned_variance,
    )


class DDPM(nn.Module):
    """An unconditional diffusion model of pictures (B, C, H, W) in [-1, 1]."""

    hears = None  # no condition

    def __init__(self, config: DDPMConfig):
        super().__init__()
        self.config = config
        self.denoiser = build_denoiser(config)
        self.perceptual: PerceptualLoss | None = None  # set for training alone

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return repr(self.perceptual or "")

    def begin_from(self, base: nn.Module) -> None:
        """Takes over the U-Net of a model that hears sentences, such as a GLIDE, and goes on
        without them: what the empty one adds to the time embedding becomes a part of its bias. That
        pixels no longer look at tokens has to be learned. Raises ValueError for a model that
        differs in more than what it hears."""
        bare = replace(base.config.net, vector=None, vector_bias=False, tokens=None, image=0)
        own = DDPMConfig(bare, base.config.schedule, base.config.T, base.config.predicts)
        if own != self.config or base.config.net.image:
            raise ValueError(
                f"this model cannot begin from the other one, since they differ in more than what "
                f"they hear: {short(base.config)} for {short(self.config)}; give a model of the "
                "same network, schedule and prediction"
            )
        net, weights = base.denoiser.net, base.denoiser.net.state_dict()
        if net.vector is not None:
            with torch.no_grad():
                weights["time.2.bias"] = weights["time.2.bias"] + net.vector(base.null.vector)[0]
        names = self.denoiser.net.state_dict()
        self.denoiser.net.load_state_dict({name: weights[name] for name in names})

    def encode(self, prompts: int) -> Conditioning | None:
        """None: this model listens to nothing, so its "prompts" are only how many pictures."""
        whole_number(prompts, "the number of pictures", 1)

    def loss(self, batch: Tensor) -> Tensor:
        """A scalar: L_simple, or L_hybrid with learned variance. batch: (B, C, H, W) in [-1, 1]."""
        return training_loss(self.denoiser, batch, also=self.perceptual)

    def generate(
        self,
        prompts: int,
        *,
        steps: int = 50,
        seed: int = 0,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] = clip,
        **options,
    ) -> Iterator[State]:
        """That many new pictures: yields a `State` after each of the steps; the last one's ``x``
        are the pictures, (B, C, H, W) in [-1, 1]. The same seed gives the same pictures.

        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0 or v=1.0, are for it.
        Raises ValueError unless prompts >= 1 and 1 <= steps <= T.
        """
        cond, net = self.encode(prompts), self.config.net
        return from_noise(
            MapX0(self.denoiser, map_x0),
            (prompts, net.channels, net.size, net.size),
            steps,
            seed=seed,
            cond=cond,
            step=step,
            **devices.placed(self),
            **options,
        )
