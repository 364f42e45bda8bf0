"""ADM, the guided diffusion of Dhariwal and Nichol 2021: a U-Net conditioned on the class, and a
classifier of noisy pictures that can steer it, or steer an unconditional one.

The U-Net hears the class as a one-hot vector through a linear map without bias, which is a table
of embeddings; the row of zeros is the null, "no class in particular", so that the same model also
serves classifier-free guidance (Ho and Salimans 2022, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices, schedule
from labkit.casting import moved
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, clip
from labkit.guidance import ClassifierFree, ScoreGuidance
from labkit.inputs import class_labels, number, picture_batch, short
from labkit.likelihood import training_loss
from labkit.nets.noisy_classifier import NoisyClassifier, NoisyClassifierConfig
from labkit.sampler import State, ddim, from_noise
from labkit.systems.ddpm import DDPMConfig, build_denoiser
from labkit.systems.perceptual import PerceptualLoss


@dataclass(frozen=True)
class ADMConfig(DDPMConfig):
    """All that there is to choose about an `ADM`. net.vector is the number of classes."""

    p_uncond: float = 0.1  # of the training rows that lose their class; 0: none ever did

    def __post_init__(self):
        super().__post_init__()
        number(self.p_uncond, "p_uncond", 0, 1)
        if not self.net.vector:
            raise ValueError("net.vector is not set, but must be the number of classes")


class ADM(nn.Module):
    """A class-conditional diffusion model of pictures (B, C, H, W) in [−1, 1]."""

    hears = "classes"

    def __init__(self, config: ADMConfig):
        super().__init__()
        self.config = config
        self.denoiser = build_denoiser(config)
        self.perceptual: PerceptualLoss | None = None  # set for training alone

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return repr(self.perceptual or "")

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.config.net.vector

    @property
    def null(self) -> Conditioning:
        """No class in particular: one row of zeros."""
        return Conditioning(vector=torch.zeros(1, self.classes, **devices.placed(self)))

    def encode(self, prompts: Sequence[int | None] | Tensor) -> Conditioning:
        """One row per label, 0 … classes − 1; None is the null. Raises ValueError for others."""
        labels = prompts.tolist() if hasattr(prompts, "tolist") else prompts  # torch's, numpy's
        if not isinstance(labels, Sequence) or isinstance(labels, str) or not len(labels):
            raise ValueError(
                f"labels is {short(prompts)}, but must be a list of at least one label"
            )
        place = devices.placed(self)
        vector = torch.zeros(len(labels), self.classes, dtype=place["dtype"])
        rows = [row for row, label in enumerate(labels) if label is not None]
        if rows:
            chosen = class_labels([labels[row] for row in rows], self.classes)
            vector[rows] = F.one_hot(chosen, self.classes).to(vector.dtype)
        return Conditioning(vector=moved(vector, place["device"]))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """A scalar, for pictures (B, C, H, W) in [−1, 1] and labels (B,) long: L_simple, or
        L_hybrid with learned variance; each row loses its class with probability p_uncond."""
        pictures, labels = batch
        picture_batch(pictures, "pictures")
        labels = class_labels(labels, self.classes, pictures)
        vector = F.one_hot(labels, self.classes).to(pictures.dtype)
        cond = Conditioning(vector=vector).drop(self.null, vector=self.config.p_uncond)
        return training_loss(self.denoiser, pictures, cond, also=self.perceptual)

    def generate(
        self,
        prompts: Sequence[int | None] | Tensor,
        *,
        steps: int = 50,
        scale: float | Tensor = 1.0,
        seed: int = 0,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] = clip,
        guide: NoisyGuide | None = None,
        guide_scale: float | Tensor = 1.0,
        **options,
    ) -> Iterator[State]:
        """A picture for each label: yields a `State` after each step; the last one's ``x`` are the
        pictures, (B, C, H, W) in [−1, 1]. The same seed gives the same pictures.

        scale: of classifier-free guidance in GLIDE's convention: 1 is none, the paper's w is
            scale − 1. It needs a model that was trained with a null.
        guide: a classifier of noisy pictures that steers towards the labels, by guide_scale.
        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0, are for it.
        Raises ValueError for unknown labels, a guide of other classes, or a scale without a null.
        """
        cond, denoise = self.encode(prompts), self.denoiser
        if isinstance(scale, Tensor) or scale != 1:
            if self.config.p_uncond == 0:
                raise ValueError(
                    f"scale is {short(scale)}, but this model was never trained without its class "
                    "(p_uncond = 0), so it has nothing to guide away from: use scale = 1, a "
                    "guide, or a model with a null"
                )
            denoise = ClassifierFree(denoise, self.null, scale)
        if guide is not None:
            if guide.config.net.classes != self.classes:
                raise ValueError(
                    f"the guide knows {guide.config.net.classes} classes, but the model "
                    f"{self.classes}: give a guide trained on the same classes"
                )
            denoise = ScoreGuidance(denoise, guide.log_prob(prompts), guide_scale)
        net = self.config.net
        return from_noise(
            MapX0(denoise, map_x0),
            (len(prompts), net.channels, net.size, net.size),
            steps,
            seed=seed,
            cond=cond,
            step=step,
            **devices.placed(self),
            **options,
        )


@dataclass(frozen=True)
class NoisyGuideConfig:
    """A classifier of noisy pictures, and the noise that it knows."""

    net: NoisyClassifierConfig
    schedule: str = "cosine"
    T: int = 1000

    def __post_init__(self):
        if isinstance(self.net, dict):  # from JSON
            object.__setattr__(self, "net", NoisyClassifierConfig(**self.net))


class NoisyGuide(nn.Module):
    """ADM's classifier with the schedule it is trained under: it sees x_t and t, at uniform t."""

    def __init__(self, config: NoisyGuideConfig):
        super().__init__()
        self.config = config
        self.net = NoisyClassifier(config.net)
        self.schedule = schedule.by_name(config.schedule, config.T)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy on q(x_t | x_0), a scalar, for pictures in [−1, 1] and labels (B,)."""
        pictures, labels = batch
        picture_batch(pictures, "pictures")
        labels = class_labels(labels, self.config.net.classes, pictures)
        t, _, x = self.schedule.draw(pictures)
        return F.cross_entropy(self.net(x, self.schedule.for_network(t, x)), labels)

    def log_prob(self, labels: Sequence[int] | Tensor) -> Callable[[Tensor, int | Tensor], Tensor]:
        """log p(label | x_t) as a function of (x (B, C, H, W), t), (B,): a label per row, or one
        for all. For `ScoreGuidance` and `mean_shift`. Raises ValueError for unknown labels."""
        labels = class_labels(labels, self.config.net.classes)

        def log_prob(x: Tensor, t: int | Tensor) -> Tensor:
            if len(labels) not in (1, len(x)):
                raise ValueError(
                    f"there are {len(labels)} labels for {len(x)} pictures: give one for each, or "
                    "one for all"
                )
            rows = moved(labels, x.device).expand(len(x))
            return (
                self.net(x, self.schedule.for_network(t, x))
                .log_softmax(1)
                .gather(1, rows[:, None])[:, 0]
            )

        return log_prob
