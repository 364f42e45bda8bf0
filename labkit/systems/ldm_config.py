"""What there is to choose about a latent diffusion model, and which of it fits together."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.inputs import number, whole_number
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.transformer import TextConfig
from labkit.systems.ddpm import DDPMConfig


@dataclass(frozen=True, kw_only=True)
class LDMConfig(DDPMConfig):
    """All that there is to choose about an `LDM`: net is the U-Net of the latents, net.tokens the
    length of each token that it hears, net.image how many channels it sees beside them."""

    autoencoder: AutoencoderConfig
    schedule: str = "scaled_linear"
    text: TextConfig | None = None  # of the transformer whose tokens the U-Net looks at
    clip_text: bool = False  # it is CLIP's, and frozen (Stable Diffusion); else trained along
    classes: int | None = None  # how many, where it hears a class and no text
    p_uncond: float = 0.1  # of the training rows that lose their text or class
    inpaints: bool = False  # sees the known pixels' latents, and where they are
    upsamples: int | None = None  # sees a picture of that many pixels a side, which it makes larger

    def __post_init__(self):
        super().__post_init__()
        for name, kind in (("autoencoder", AutoencoderConfig), ("text", TextConfig)):
            if isinstance(getattr(self, name), dict):  # from JSON
                object.__setattr__(self, name, kind(**getattr(self, name)))
        number(self.p_uncond, "p_uncond", 0, 1)
        net, shape = self.net, self.autoencoder.latent_shape
        if self.classes is not None:
            whole_number(self.classes, "classes", 1)
        if self.upsamples is not None:
            whole_number(self.upsamples, "upsamples", 1, self.autoencoder.size - 1)
            if self.upsamples > shape[1] and self.upsamples % shape[1]:
                raise ValueError(
                    f"upsamples is {self.upsamples}, but must be at most {shape[1]}, the side of "
                    "the latents, or a multiple of it"
                )
        if net.learned_variance:
            raise ValueError(
                "net.learned_variance is set, but latents have no 8-bit levels, by whose "
                "probability a variance is learned: leave it out"
            )
        if self.text is not None and self.classes is not None:
            raise ValueError("text and classes are both set, but a model hears one of them or none")
        if self.clip_text and self.text is None:
            raise ValueError("clip_text is set, but there is no text: say which transformer it is")
        tokens = self.text.width if self.text else None
        if self.classes is not None:  # a table of any width
            tokens = whole_number(net.tokens, "net.tokens", 1)
        for what, given, needed in (
            ("channels", net.channels, shape[0]),
            ("size", net.size, shape[1]),
            ("tokens", net.tokens, tokens),
            ("image", net.image, sum(self.beside.values())),
        ):
            if given != needed:
                raise ValueError(f"net.{what} is {given}, but must be {needed} for this model")

    @property
    def beside(self) -> dict[str, int]:
        """The channels of what the U-Net sees beside the latents, in their order."""
        known = {"known": self.autoencoder.latent, "mask": 1} if self.inpaints else {}
        low = {} if self.upsamples is None else {"low": self.autoencoder.channels * self.squares**2}
        return known | low

    @property
    def squares(self) -> int:
        """The side of the squares of the smaller picture that become channels, so that nothing is
        lost where it is larger than the latents. (The paper's is as large as they.)"""
        return max(1, self.upsamples // self.autoencoder.latent_shape[1])
