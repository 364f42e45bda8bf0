"""Semantic diffusion guidance: an unconditional diffusion model, steered by what an encoder of
noisy pictures sees in them: a sentence, another picture's content, its structure or its style.

Source: Liu et al. 2021, "More Control for Free! Image Synthesis with Semantic Diffusion Guidance",
section 3, and the authors' code. A score is any function of (x_t, t) that says how well each
picture fits; its gradient is all that the sampler hears (`labkit.guidance.ScoreGuidance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices, schedule
from labkit.denoiser import MapX0
from labkit.denoiser import clip as clip_x0
from labkit.guidance import ScoreGuidance
from labkit.inputs import number, picture_batch, sized_pictures, whole_number
from labkit.nets.noisy_resnet import NoisyResNet
from labkit.nets.resnet import ResNetConfig
from labkit.sampler import APART, State, ddim, from_noise, noise_like
from labkit.systems.clip import CLIP, contrastive_loss, standardized
from labkit.systems.ddpm import DDPM

Score = Callable[[Tensor, int | Tensor], Tensor]  # (x (B, C, H, W), t) → (B,)

FIXED_SCALE = 100.0  # of the similarities in training, as in the authors' code
TEXT = 200.0  # weight of a sentence


@dataclass(frozen=True)
class NoisyCLIPConfig:
    """All that there is to choose about a `NoisyCLIP`."""

    image: ResNetConfig  # that of the CLIP whose space it shares
    dim: int  # of that space
    hidden: int = 512  # width of the network that hears the time
    schedule: str = "cosine"  # the noise that it knows: the diffusion model's own
    T: int = 1000

    def __post_init__(self):
        if isinstance(self.image, dict):  # from JSON
            object.__setattr__(self, "image", ResNetConfig(**self.image))
        if not isinstance(self.image, ResNetConfig):
            raise ValueError(
                f"the image tower is {self.image}, but only a ResNet can hear the time here: "
                "give a ResNetConfig, that of a CLIP with a ResNet"
            )


class NoisyCLIP(nn.Module):
    """CLIP's image tower for noisy pictures (B, 3, S, S): it places x_t where the original tower
    places the clean picture, so that CLIP's sentences, too, can be compared with it.

    Untrained but begun from a `CLIP`, it is that CLIP's own tower, which does not hear the time.
    """

    def __init__(self, config: NoisyCLIPConfig):
        super().__init__()
        self.config = config
        self.net = NoisyResNet(config.image, config.dim, config.hidden)
        self.schedule = schedule.by_name(config.schedule, config.T)

    @classmethod
    def clean(cls, clip: CLIP, schedule: str = "cosine", T: int = 1000) -> NoisyCLIP:
        """The clean tower behind the same door: what guidance is without training on noise. The
        schedule, that of the diffusion model, only says how references are noised."""
        config = NoisyCLIPConfig(clip.config.image, clip.config.dim, schedule=schedule, T=T)
        made = cls(config).eval()
        made.begin_from(clip)
        return made.to(clip.logit_scale.device)

    def begin_from(self, clip: CLIP) -> None:
        """Takes over the weights of that CLIP's image tower. Raises ValueError if it is another
        kind of tower."""
        if clip.config.image != self.config.image or clip.config.dim != self.config.dim:
            raise ValueError(
                f"the CLIP has the image tower {clip.config.image} into {clip.config.dim} "
                f"dimensions, but this encoder {self.config.image} into {self.config.dim}: use a "
                "CLIP with a ResNet of the same configuration"
            )
        own = self.net.net
        own.load_state_dict(own.state_dict() | clip.image.state_dict())

    def encode(self, x: Tensor, t: int | Tensor) -> Tensor:
        """Noisy pictures x_t (B, 3, S, S) at time t, one for all or (B,), as unit vectors
        (B, dim)."""
        return F.normalize(self.net(*self.seen(x, t)), dim=1)

    def maps(self, x: Tensor, t: int | Tensor) -> list[Tensor]:
        """What each stage of the net sees of x_t on the way, (B, C, H, W) each, coarser and
        coarser."""
        return list(self.net.maps(*self.seen(x, t)))

    def seen(self, x: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Picture and times as the net wants them. Raises ValueError for another size."""
        self.check_size(x)
        return standardized(x), self.schedule.for_network(t, x)

    def check_size(self, x: Tensor, what: str = "pictures") -> None:
        """Raises ValueError unless x is (B, 3, S, S) of this encoder's S."""
        weight = self.net.time[0].weight
        sized_pictures(x, 3, self.config.image.size, weight, "this encoder", what)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Which noisy picture belongs to which clean one, a scalar: the two cross-entropies of
        `contrastive_loss`, at a fixed scale, added. No sentence is needed (section 3).

        batch: clean pictures (B, 3, S, S) in [−1, 1], and what the original CLIP's
        `encode_image` says of them, (B, dim). Each is noised to a time of its own. When several
        processes train, the pairs of all stand in one matrix, and B must be the same for each.
        """
        pictures, targets = batch
        picture_batch(pictures, "pictures")
        t, _, x = self.schedule.draw(pictures)
        seen = self.encode(x, t)
        if self.training:
            seen, targets = devices.gathered(seen), devices.gathered(targets)
        return 2 * contrastive_loss(seen, targets, FIXED_SCALE)

    # The scores. Each is a function of (x, t) that gives one number per row.

    def language(self, vectors: Tensor) -> Score:
        """cos(E(x_t, t), E_L(sentence)): vectors from CLIP's `encode_text`, (1 or B, dim)."""
        return lambda x, t: (self.encode(x, t) * vectors.to(x)).sum(1)

    def content(self, reference: Tensor, generator: torch.Generator | None = None) -> Score:
        """cos(E(x_t, t), E(x'_t, t)) with a reference picture x', (1 or B, 3, S, S) in [−1, 1],
        noised to the same time with new noise at every look."""
        noised = self.noised(reference, generator)
        return lambda x, t: (self.encode(x, t) * noised(self.encode, x, t)).sum(1)

    def structure(self, reference: Tensor, generator: torch.Generator | None = None) -> Score:
        """− Σ_j ‖E(x_t, t)_j − E(x'_t, t)_j‖² / (C_j H_j W_j) over the feature maps: what is where
        in the reference, (1 or B, 3, S, S)."""
        return self.likeness(reference, generator, lambda maps: maps / maps[0].numel() ** 0.5)

    def style(self, reference: Tensor, generator: torch.Generator | None = None) -> Score:
        """− Σ_j ‖G_j − G'_j‖²_F over the feature maps, G the Gram matrices of `gram`: which
        features appear together in the reference, (1 or B, 3, S, S), wherever they are."""
        return self.likeness(reference, generator, gram)

    def likeness(self, reference: Tensor, generator, of: Callable[[Tensor], Tensor]) -> Score:
        """Minus the squared distances between a function of the maps of x_t and of x'_t."""
        noised = self.noised(reference, generator)

        def score(x: Tensor, t: int | Tensor) -> Tensor:
            pairs = zip(self.maps(x, t), noised(self.maps, x, t), strict=True)
            gaps = [(of(own) - of(other)).flatten(1) for own, other in pairs]
            return -sum(gap.square().sum(1) for gap in gaps)

        return score

    def noised(self, reference: Tensor, generator: torch.Generator | None) -> Callable:
        """A function that looks at the reference through as much noise as there is in x_t."""
        self.check_size(picture_batch(reference, "the reference"), "references")
        generator = generator or torch.Generator().manual_seed(APART)

        @torch.no_grad()
        def look(at: Callable, x: Tensor, t: int | Tensor):
            eps = noise_like(x, generator)
            return at(self.schedule.diffuse(reference.to(x).expand_as(x), t, eps), t)

        return look


def gram(maps: Tensor) -> Tensor:
    """Gram matrices F Fᵀ / (C H W) of feature maps (B, C, H, W), one for each picture, (B, C, C):
    what is seen together, wherever it is. The authors' code mixes the pictures of a batch here."""
    rows = maps.flatten(2)  # (B, C, HW)
    return rows @ rows.mT / maps[0].numel()


def weighted(*terms: tuple[float, Score]) -> Score:
    """Σ weight · score, for guidance by several signals at once (section 3). Raises ValueError
    for no term, or a weight that is not finite."""
    if not terms:
        raise ValueError("there is no term to add up: give at least one (weight, score)")
    for weight, _ in terms:
        number(weight, "the weight of a score")
    return lambda x, t: sum(weight * score(x, t) for weight, score in terms)


class SDG(nn.Module):
    """The whole system: an unconditional model, the encoder that steers it, and the CLIP whose
    sentences the encoder understands. None of them was trained for this.

    Raises ValueError for a model and a guide of different noise schedules.
    """

    hears = "sentences"

    def __init__(self, model: DDPM, guide: NoisyCLIP, clip: CLIP):
        super().__init__()
        drawn, seen = model.denoiser.schedule.alpha_bar, guide.schedule.alpha_bar
        if drawn.shape != seen.shape or not torch.allclose(drawn, seen):
            raise ValueError(
                f"the model was trained on another noise schedule ({model.config.schedule}, "
                f"T = {len(drawn) - 1}) than the guide ({guide.config.schedule}, "
                f"T = {len(seen) - 1}): the same time would mean another picture to each"
            )
        self.model, self.guide, self.clip = model, guide, clip

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What it is made of, as its constructor takes it."""
        return {"model": self.model, "guide": self.guide, "clip": self.clip}

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Sentences as unit vectors, (B, dim). Raises ValueError for what CLIP cannot read."""
        with torch.no_grad():
            return self.clip.encode_text(prompts)

    def generate(
        self,
        prompts: Sequence[str] | int,
        *,
        reference: Tensor | None = None,
        scale: float = TEXT,
        content: float = 0.0,
        structure: float = 0.0,
        style: float = 0.0,
        steps: int = 50,
        seed: int = 0,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] = clip_x0,
        **options,
    ) -> Iterator[State]:
        """A picture for each sentence: yields a `State` after each step; the last one's ``x`` are
        the pictures, (B, 3, S, S) in [−1, 1]. The same seed gives the same pictures.

        prompts: sentences, or one, or how many pictures if no sentence shall guide.
        reference: (1 or B, 3, S, S) in [−1, 1], a picture to be like.
        scale: the weight of the sentences; content, structure, style: the weights of what the
            reference is followed in; 0 leaves one out.
        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0, are for it.
        Raises ValueError for sentences that CLIP cannot read, a reference of another size or
        range, a weight that asks for a reference where none is, or one that nothing looks at.
        """
        prompts = [prompts] if isinstance(prompts, str) else prompts
        by_text = isinstance(prompts, Sequence)
        number_of = len(prompts) if by_text else whole_number(prompts, "the number of pictures", 1)
        seed = whole_number(seed, "seed", 0, 2**63 - 1)
        generator = torch.Generator().manual_seed(seed + APART)
        terms = [(scale, self.guide.language(self.encode(prompts)))] if by_text and scale else []
        weights = {"content": content, "structure": structure, "style": style}
        if reference is not None:
            given = len(picture_batch(reference, "the reference"))
            if given not in {1, number_of}:
                raise ValueError(
                    f"{given} references for {number_of} pictures: give one, or one for each"
                )
            if not any(weights.values()):
                raise ValueError(
                    "there is a picture to be like, but content, structure and style all weigh 0: "
                    "give one of them a weight, or leave the reference out"
                )
        for name, weight in weights.items():
            if number(weight, f"the weight of {name}"):
                if reference is None:
                    raise ValueError(
                        f"the weight of {name} is {weight:g}, but there is no picture to be like: "
                        "give a reference"
                    )
                terms.append((weight, getattr(self.guide, name)(reference, generator)))
        denoise, net = self.model.denoiser, self.model.config.net
        if terms:
            denoise = ScoreGuidance(denoise, weighted(*terms))
        return from_noise(
            MapX0(denoise, map_x0),
            (number_of, net.channels, net.size, net.size),
            steps,
            seed=seed,
            step=step,
            **devices.placed(self.model),
            **options,
        )
