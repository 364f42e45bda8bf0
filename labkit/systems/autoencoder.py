"""The first stage of latent diffusion, trained: an autoencoder and what it is taught by.

Source: Rombach et al. 2022, section 3.1 and appendix G, and the authors' code. Four losses add up:
the misfit of pixels, a perceptual distance, the pull of the latents to N(0, I) or to the codebook,
and a discriminator that tells reconstructions from pictures. (The code also has a logarithm of the
misfit's variance, but no optimizer ever moves it from 0.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from labkit.inputs import number, picture_batch, whole_number
from labkit.nets.autoencoder import Autoencoder, AutoencoderConfig, straight_through
from labkit.nets.discriminator import PatchDiscriminator
from labkit.systems.perceptual import PerceptualLoss

MOST = 1e4  # of the adaptive weight


@dataclass(frozen=True)
class FirstStageConfig:
    """All that there is to choose about a `FirstStage`. The paper's discriminator of KL models
    begins late: train without one, then begin another run from that, with one."""

    net: AutoencoderConfig
    kl: float = 1e-6  # weight of KL(q ‖ N(0, I)), summed, beside the misfit, summed over pixels
    commitment: float = 0.25  # weight of the latents' way to the codebook, beside its way to them
    adversarial: float = 0.0  # weight of the discriminator, w_d; 0: there is none
    judge: int = 64  # channels of its first layer
    layers: int = 3  # of its convolutions that halve

    def __post_init__(self):
        if isinstance(self.net, dict):  # from JSON
            object.__setattr__(self, "net", AutoencoderConfig(**self.net))
        for name in ("kl", "commitment", "adversarial"):
            number(getattr(self, name), name, 0)
        for name in ("judge", "layers"):
            whole_number(getattr(self, name), name, 1)
        if self.adversarial and self.net.size < 4 * 2**self.layers:
            raise ValueError(
                f"a discriminator of {self.layers} layers sees nothing in pictures of "
                f"{self.net.size} pixels a side, but only from {4 * 2**self.layers} on: choose "
                "fewer layers"
            )


def codebook_loss(z: Tensor, entries: Tensor, commitment: float) -> Tensor:
    """‖sg[z] − e‖² + commitment ‖z − sg[e]‖², means over all numbers (van den Oord et al. 2017,
    equation 3; the code of VQGAN has the weight on the other term). z, entries: (B, C, h, w)."""
    return F.mse_loss(entries, z.detach()) + commitment * F.mse_loss(z, entries.detach())


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimizes: ½ E[relu(1 − real) + relu(1 + fake)] of its logits."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def adaptive_weight(misfit: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """λ, a scalar without gradient: by how much the adversarial loss must be multiplied to move
    the decoder's last layer as much as the misfit does, ‖∇misfit‖ / (‖∇adversarial‖ + 1e-4), 0 …
    1e4 (VQGAN, Esser et al. 2021, equation 7)."""
    (by_misfit,) = torch.autograd.grad(misfit, last, retain_graph=True)
    (by_judge,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    return (by_misfit.norm() / (by_judge.norm() + 1e-4)).clamp(0, MOST).detach()


class FirstStage(nn.Module):
    """An autoencoder, and the discriminator that it learns against, if it has one.

    ``autoencoder`` is what the second stage takes: encode and decode are its own.
    """

    def __init__(self, config: FirstStageConfig):
        super().__init__()
        self.config, net = config, config.net
        self.autoencoder, self.judge = Autoencoder(net), None
        if config.adversarial:
            self.judge = PatchDiscriminator(net.channels, config.judge, config.layers)
        self.perceptual: PerceptualLoss | None = None  # set for training alone

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return repr(self.perceptual or "")

    def begin_from(self, earlier: FirstStage) -> None:
        """Takes over the autoencoder of an earlier run, such as one without a discriminator.
        Raises ValueError for another network."""
        if odd := self.config.net.differences(earlier.config.net):
            raise ValueError(f"this autoencoder cannot begin from one of another network: {odd}")
        self.autoencoder.load_state_dict(earlier.autoencoder.state_dict())

    @torch.no_grad()
    def reconstruct(self, pictures: Tensor) -> Tensor:
        """decode(encode(x)), (B, C, S, S) in [−1, 1]; of a KL model the posterior's mean, not a
        draw. Raises ValueError for pictures of another size or range."""
        x = picture_batch(pictures, "pictures")
        return self.autoencoder.decode(self.autoencoder.mean(x)).clamp(-1, 1)

    def loss(self, pictures: Tensor) -> Tensor:
        """A scalar, for pictures (B, C, S, S) in [−1, 1]: the sum of `terms`."""
        return sum(self.terms(pictures).values())

    def terms(self, pictures: Tensor) -> dict[str, Tensor]:
        """The losses by name, each with its weight, scalars. All are means over the pixels, the
        paper's divided by the number of values of a picture, so that the learning rate need not
        follow the size.

        reconstruction: |x − x̂|. perceptual: how far both are apart to `PerceptualLoss`. kl, or
        codebook: see the configuration. adversarial: −E[D(x̂)] with its `adaptive_weight`, which
        moves the autoencoder alone. judge: `hinge_loss`, which moves the discriminator alone.
        """
        net, c = self.autoencoder, self.config
        x = picture_batch(pictures, "pictures")
        found: dict[str, Tensor] = {}
        if net.codebook:
            z = net.moments(x)
            entries = net.codebook(z)
            found["codebook"] = codebook_loss(z, entries, c.commitment)
            z = straight_through(z, entries)
        else:
            posterior = net.posterior(x)
            found["kl"] = c.kl * posterior.kl().mean() / x[0].numel()
            z = posterior.sample()
        again = net.expand(z).to(x.dtype)
        found["reconstruction"] = F.l1_loss(again, x)
        if self.perceptual is not None:
            found["perceptual"] = self.perceptual(again, x, x.new_ones(len(x)))
        if self.judge is not None:
            seen = found["reconstruction"] + found.get("perceptual", 0.0)
            found |= self.contest(x, again, seen)
        return found

    def contest(self, x: Tensor, again: Tensor, misfit: Tensor) -> dict[str, Tensor]:
        """What the autoencoder and the discriminator each minimize against the other."""
        still = {name: weight.detach() for name, weight in self.judge.named_parameters()}
        fooled = -functional_call(self.judge, still, again).mean()
        factor = self.config.adversarial * self.factor(misfit, fooled)
        real, fake = self.judge(x), self.judge(again.detach())
        return {"adversarial": factor * fooled, "judge": hinge_loss(real, fake)}

    def factor(self, misfit: Tensor, fooled: Tensor) -> Tensor | float:
        """The adaptive weight; where nobody learns, as in an evaluation, there is none to find."""
        last = self.autoencoder.decoder[-1].weight
        return adaptive_weight(misfit, fooled, last) if misfit.requires_grad else 0.0
