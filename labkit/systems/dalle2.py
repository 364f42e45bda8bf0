"""DALL·E 2 ("unCLIP"), the whole system: sentence → embedding of a picture → picture.

Source: Ramesh et al. 2022, "Hierarchical Text-Conditional Image Generation with CLIP Latents".
P(x | y) = P(x | z, y) P(z | y): a prior draws the CLIP embedding z of a picture x of the sentence
y, a decoder the picture. Since z is a point of CLIP's space, a picture can also be varied, mixed
with another one, and changed by words (section 3): x is taken apart into (z, x_T), of which z says
what is in it, and x_T, found by DDIM inversion, the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.guidance import ClassifierFree, check_scale
from labkit.inputs import number, numbers, one_of, picture_batch, whole_number
from labkit.interpolate import slerp
from labkit.sampler import APART, State, ddim, sample
from labkit.systems.autoregressive_prior import AutoregressivePrior
from labkit.systems.clip import CLIP
from labkit.systems.diffusion_prior import DiffusionPrior
from labkit.systems.glide import GLIDE
from labkit.systems.inversion import inverted, times_through
from labkit.systems.prior_inputs import check_clip, check_null, check_options, check_reading, read
from labkit.systems.unclip_decoder import UnCLIPDecoder

PRIORS = ("diffusion", "autoregressive")
SAME = 1e-3  # the length of a difference of embeddings that has no direction to speak of


class DALLE2(nn.Module):
    """A CLIP, which stays as it is, the priors and the decoder that were trained in its space, and
    perhaps a GLIDE that makes the decoder's pictures larger. Each is trained by itself.

    Raises ValueError for parts of another CLIP, and of sizes that do not fit together.
    """

    hears = "sentences"

    def __init__(
        self,
        clip: CLIP,
        decoder: UnCLIPDecoder,
        diffusion: DiffusionPrior | None = None,
        autoregressive: AutoregressivePrior | None = None,
        upsampler: GLIDE | None = None,
    ):
        super().__init__()
        self.clip, self.decoder, self.diffusion = clip, decoder, diffusion
        self.autoregressive, self.upsampler = autoregressive, upsampler
        self.check()

    def check(self) -> None:
        """Raises ValueError for parts that do not fit together, by sizes and by weights."""
        for name, part in (
            ("decoder", self.decoder),
            ("diffusion prior", self.diffusion),
            ("autoregressive prior", self.autoregressive),
        ):
            if part is not None:
                check_clip(part, self.clip, name)
        if self.diffusion is not None:
            config = self.diffusion.config
            check_reading(self.clip, config.vocabulary, config.net.context, "diffusion prior")
        if self.autoregressive is not None:
            net = self.autoregressive.config.net
            check_reading(self.clip, net.vocabulary, net.context, "autoregressive prior")
        size = self.decoder.config.glide.net.size
        if self.clip.config.image.size != size:
            raise ValueError(
                f"the decoder draws pictures of {size} pixels a side, but this CLIP looks at "
                f"{self.clip.config.image.size}: give parts of one size"
            )
        if self.upsampler is not None and self.upsampler.config.upsamples != size:
            raise ValueError(
                f"the upsampler makes pictures of {self.upsampler.config.upsamples} pixels larger, "
                f"but the decoder draws {size}: give parts of matching sizes"
            )

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What it is made of, as its constructor takes it."""
        names = ("clip", "decoder", "diffusion", "autoregressive", "upsampler")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def stages(self) -> list[str]:
        """Those that yield states, in their order."""
        return [name for name in ("decoder", "upsampler") if name in self.parts]

    # From sentences

    def embed(
        self, prompts: str | Sequence[str], prior: str = "diffusion", *, seed: int = 0, **options
    ) -> Tensor:
        """The embedding of a picture of each sentence, unit vectors (B, D). options: of that
        prior's `draw`. Raises ValueError for a prior that is not there, for what CLIP cannot read,
        and for options that the prior does not have."""
        priors = {name: part for name, part in self.parts.items() if name in PRIORS}
        draw = priors[one_of(prior, priors, "prior")].draw
        if prior == "autoregressive":  # the other one has options of a sampler, and looks itself
            check_options(options, draw)
        return draw(read(self.clip, prompts), seed=seed, **options)

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        prior: str | None = "diffusion",
        prior_options: Mapping[str, Any] | None = None,
        steps: int = 25,
        scale: float = 3.0,
        seed: int = 0,
        **options,
    ) -> Iterator[State]:
        """A picture for each sentence: yields a `State` after each step of the decoder, and of the
        upsampler, if there is one; the last one's ``x`` are the pictures, (B, C, S, S) in [−1, 1].

        prior: "diffusion", "autoregressive", or None: the decoder then hears the caption alone. For
            an embedding of another origin, ask ``decoder.generate``. prior_options: of its `draw`,
            perhaps a seed of its own.
        steps, scale, options: of `UnCLIPDecoder.generate`. The same seed gives the same pictures,
            and the decoder the same noise whatever the prior.
        """
        seed = whole_number(seed, "seed", 0, 2**62)
        embedding = None
        if prior is not None:
            embedding = self.embed(prompts, prior, **{"seed": seed, **(prior_options or {})})
        # The decoder's own, so that its noise is the same with every prior.
        generator = torch.Generator().manual_seed(seed + APART)
        states = self.decoder.generate(
            prompts, embedding=embedding, steps=steps, scale=scale, seed=generator, **options
        )
        return self.enlarged(states, prompts, generator)

    def enlarged(
        self, states: Iterator[State], prompts: str | Sequence[str], generator: torch.Generator
    ) -> Iterator[State]:
        """The decoder's states, and then the upsampler's."""
        for state in states:
            yield state._replace(stage="decoder")
        if self.upsampler is not None:
            larger = self.upsampler.generate(prompts, low=state.pictures, seed=generator)
            for state in larger:
                yield state._replace(stage="upsampler")

    # From pictures (section 3). They stay in the decoder's size. t0: as `taken_apart` says.

    def variations(
        self,
        image: Tensor,
        eta: float = 1.0,
        *,
        steps: int = 50,
        scale: float = 1.0,
        seed: int = 0,
        t0: int | None = None,
    ) -> Iterator[State]:
        """Pictures with the embedding of each picture (B, C, S, S): what CLIP sees stays, the rest
        is drawn anew. eta: 0 brings the picture back, as far as so many steps can, at scale 1
        alone; more forgets more of it. Yields a `State` after each step. Raises ValueError for
        pictures of another size or range, eta outside [0, 1], and a decoder that was never trained
        without captions."""
        eta, seed = number(eta, "eta", 0, 1), whole_number(seed, "seed", 0, 2**63 - 1)
        self.check_guidance(scale)
        z, x_T, times = self.taken_apart(image, steps, t0)
        return self.drawn(z, x_T, times, scale, eta, seed)

    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        n: int = 7,
        *,
        steps: int = 50,
        scale: float = 1.0,
        t0: int | None = None,
    ) -> Iterator[State]:
        """n pictures from a to b, (1, C, S, S) each: both z and x_T go along their arcs. Yields a
        `State` after each step, of all n. Raises ValueError for pictures of another size or range,
        and n below 2."""
        n = whole_number(n, "the number of pictures", 2)
        self.check_guidance(scale)
        shares = torch.linspace(0, 1, n, dtype=torch.float64).tolist()
        for name, picture in (("a", a), ("b", b)):
            if len(picture_batch(picture, name)) != 1:
                raise ValueError(
                    f"{name} holds {len(picture)} pictures, but must be one: {name}[:1]"
                )
        (z1, x1, times), (z2, x2, _) = (self.taken_apart(each, steps, t0) for each in (a, b))
        z, x_T = (
            torch.cat([slerp(one, two, share) for share in shares])
            for one, two in ((z1, z2), (x1, x2))
        )
        return self.drawn(z, x_T, times, scale)

    def text_diff(
        self,
        image: Tensor,
        before: str,
        after: str,
        theta: float | Sequence[float] | Tensor = 0.5,
        *,
        steps: int = 50,
        scale: float = 1.0,
        t0: int | None = None,
    ) -> Iterator[State]:
        """The picture (1, C, S, S), changed as the words are, such as from "a red star" to "a blue
        star": z goes the share theta of the arc to the direction between both sentences, x_T stays.

        theta: one share in [0, 1], or several, of which each gives a picture; the paper goes to .25
        or .5. Yields a `State` after each step. Raises ValueError for other shares, for a picture
        of another size or range, and for sentences that say the same to CLIP.
        """
        self.check_guidance(scale)
        if getattr(theta, "ndim", 0):  # an array, of numpy's or torch's
            theta = numbers(theta, "theta", 1).tolist()
        shares = theta if isinstance(theta, Sequence) else [theta]
        shares = [number(share, "theta", 0, 1) for share in shares]
        if not shares or len(picture_batch(image, "the image")) != 1:
            raise ValueError(
                f"there are {len(image)} images and {len(shares)} shares theta, but must be one "
                "image and at least one share"
            )
        texts = read(self.clip, [before, after]).embedding
        change = texts[1:] - texts[:1]
        if float(change.norm()) < SAME:
            raise ValueError(
                f"{before!r} and {after!r} are the same to this CLIP, so nothing leads from one to "
                "the other: say what shall change"
            )
        z, x_T, times = self.taken_apart(image, steps, t0)
        z = torch.cat([slerp(z, F.normalize(change, dim=1), share) for share in shares])
        return self.drawn(z, x_T.expand(len(z), -1, -1, -1), times, scale)

    def check_guidance(self, scale: float | Tensor) -> None:
        """Raises ValueError for a scale that the decoder cannot be guided by, before the long way
        to the noise."""
        check_scale(scale)
        check_null(self.decoder.guidable, scale)

    @torch.no_grad()
    def taken_apart(
        self, image: Tensor, steps: int = 50, t0: int | None = None, seed: int = 0
    ) -> tuple[Tensor, Tensor, list[int]]:
        """(z, x_T, times) of pictures: their embeddings (B, D), and the noise (B, C, S, S) from
        which the decoder comes back to them by those falling times, without a caption.

        t0: the time at which inversion begins, in 1 … T − 1; None: a tenth of T. Not 1, for a
        decoder that predicts x0: `labkit.systems.inversion.inverted` says why. What there is of
        noise by then is drawn with the seed. Raises ValueError for another t0, for fewer than two
        steps, and as `variations` does.
        """
        image = picture_batch(image, "the image").to(self.decoder.vector.weight)
        denoise = self.decoder.glide.denoiser
        times = times_through(t0, steps, denoise.schedule.T)
        z = self.clip.encode_image(image)
        self.decoder.check_trained([None], z)
        cond = self.decoder.encode([None] * len(z), z)
        above, below = times
        return z, inverted(denoise, image, times, cond, seed), above + below[1:]

    def drawn(
        self,
        z: Tensor,
        x_T: Tensor,
        times: Sequence[int],
        scale: float,
        eta: float = 0.0,
        seed: int = 0,
    ) -> Iterator[State]:
        """The pictures of embeddings z (B, D) that begin from the noise x_T (B, C, S, S), by those
        falling times."""
        cond = self.decoder.encode([None] * len(z), F.normalize(z, dim=1))
        denoise = self.decoder.glide.denoiser
        generator = torch.Generator().manual_seed(seed)
        # Not clipped, as inversion is not: the way back is the way there.
        return sample(
            ClassifierFree(denoise, self.decoder.null, scale),
            x_T,
            times,
            cond,
            step=partial(ddim, eta=eta),
            generator=generator,
        )
