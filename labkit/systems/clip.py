"""CLIP: a reader of pictures and a reader of texts that learn to meet in one space.

Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", sections 2.3 to 2.5 and figure 3, and the authors' code. Of N pictures and their N
captions, which caption belongs to which picture? That question is all there is to training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.casting import moved
from labkit.inputs import picture_batch, short, sized_pictures, whole_number
from labkit.nets.resnet import ResNet, ResNetConfig
from labkit.nets.transformer import TextConfig, TextTransformer
from labkit.nets.vit import ViT, ViTConfig
from labkit.scenes.tokenizer import Tokenizer, words_of
from labkit.scenes.tokenizer import load as course_tokenizer

# Of the pixels of CLIP's training pictures, in [0, 1]: every picture is shifted and scaled by them.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
FIRST_SCALE, LAST_SCALE = 1 / 0.07, 100.0  # the temperature is 1 / scale; section 2.5


@dataclass(frozen=True)
class CLIPConfig:
    """All that there is to choose about a `CLIP`. The defaults are those of ViT-B/32."""

    image: ViTConfig | ResNetConfig = field(default_factory=ViTConfig)
    text: TextConfig = field(default_factory=TextConfig)
    dim: int = 512  # of the space in which pictures and texts meet

    def __post_init__(self):
        if isinstance(self.image, dict):  # JSON knows no dataclass
            kind = ResNetConfig if "blocks" in self.image else ViTConfig
            object.__setattr__(self, "image", kind(**self.image))
        if isinstance(self.text, dict):
            object.__setattr__(self, "text", TextConfig(**self.text))
        whole_number(self.dim, "the dimension of CLIP's space", 1)


# Three of the paper's models (its tables 19 and 20), at full size.
PAPER = {
    "ViT-B/32": CLIPConfig(),
    "ViT-L/14": CLIPConfig(
        ViTConfig(patch=14, width=1024, depth=24, heads=16), TextConfig(width=768, heads=12), 768
    ),
    "RN50": CLIPConfig(ResNetConfig(), dim=1024),
}


def contrastive_loss(
    image: Tensor, text: Tensor, scale: Tensor | float, bias: Tensor | float = 0.0
) -> Tensor:
    """Two cross-entropies on one matrix of similarities, a scalar (figure 3 of the paper).

    image, text: (N, D) unit vectors, row n of one belongs to row n of the other; scale: 1 / the
    temperature. A row of the matrix asks which text belongs to its picture, a column asks which
    picture belongs to its text. bias: (N, N), added to the logits; −∞ leaves a pair out.
    """
    logits = scale * image @ text.T + bias  # (N, N)
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def distinct_loss(image: Tensor, text: Tensor, scale: Tensor | float, same: Tensor) -> Tensor:
    """`contrastive_loss` where another pair with the same caption is neither right nor wrong; same:
    which rows have the same caption, (N, N) bool."""
    others = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    left_out = torch.zeros_like(same, dtype=image.dtype).masked_fill(others, -torch.inf)
    return contrastive_loss(image, text, scale, left_out)


def standardized(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) around [−1, 1], shifted and scaled as CLIP's towers know them."""
    mean, std = (pictures.new_tensor(row)[:, None, None] for row in (MEAN, STD))
    return ((pictures + 1) / 2 - mean) / std


class CLIP(nn.Module):
    """Pictures (B, 3, S, S) in [−1, 1] and texts become unit vectors of one space.

    tokenizer: the one whose tokens it reads; None: the course's own, `labkit.scenes.tokenizer`.
    """

    def __init__(self, config: CLIPConfig, tokenizer: Tokenizer | None = None):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        tower = ViT if isinstance(config.image, ViTConfig) else ResNet
        self.image = tower(config.image, config.dim)
        self.text = TextTransformer(config.text, config.dim)
        # The logarithm is learned, so that the scale stays positive and moves by proportions.
        self.logit_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return words_of(self.tokenizer)

    @property
    def scale(self) -> Tensor:
        """1 / the temperature, a scalar, at most 100."""
        return self.logit_scale.clamp(max=math.log(LAST_SCALE)).exp()

    def image_features(self, pictures: Tensor) -> Tensor:
        """What the image tower says, (B, dim), of whatever length. Raises ValueError for pictures
        of another size or range."""
        picture_batch(pictures, "pictures")
        sized_pictures(pictures, 3, self.config.image.size, self.logit_scale, "this CLIP")
        return self.image(standardized(pictures))

    def text_features(self, texts: str | Sequence[str] | Tensor) -> Tensor:
        """What the text tower says, (B, dim), of whatever length; see `tokens` for the input."""
        return self.text(self.tokens(texts))

    def encode_image(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [−1, 1] as unit vectors, (B, dim)."""
        return F.normalize(self.image_features(pictures), dim=1)

    def encode_text(self, texts: str | Sequence[str] | Tensor) -> Tensor:
        """Captions, or their tokens (B, L) long, as unit vectors, (B, dim)."""
        return F.normalize(self.text_features(texts), dim=1)

    def forward(self, pictures: Tensor, texts: str | Sequence[str] | Tensor) -> Tensor:
        """How well each of B pictures goes with each of M texts: scale · cosine, (B, M)."""
        return self.scale * self.encode_image(pictures) @ self.encode_text(texts).T

    def loss(self, batch: tuple[Tensor, Tensor | Sequence[str]]) -> Tensor:
        """The contrastive loss, a scalar, of N pictures and the N captions or token rows that
        belong to them. About ln N before training. When several processes train, the pairs of all
        of them stand in one matrix, as in section 2.5, and N must be the same for each."""
        pictures, texts = batch
        image, text = self.encode_image(pictures), self.encode_text(texts)
        if len(image) != len(text):
            raise ValueError(
                f"the batch has {len(image)} pictures and {len(text)} texts, but each picture must "
                "come with its own text"
            )
        with torch.no_grad():  # what an update pushed beyond 100 comes back (section 2.5)
            self.logit_scale.clamp_(max=math.log(LAST_SCALE))
        if self.training:
            image, text = devices.gathered(image), devices.gathered(text)
        return contrastive_loss(image, text, self.scale)

    def tokens(self, texts: str | Sequence[str] | Tensor) -> Tensor:
        """Texts as tokens (B, L) long. Raises ValueError for what this CLIP cannot read."""
        if not isinstance(texts, Tensor):
            texts = self.read(texts)
        text, device = self.config.text, self.logit_scale.device
        whole = texts.ndim == 2 and texts.numel() > 0 and texts.dtype in (torch.long, torch.int)
        if not whole or texts.shape[1] > text.context:
            raise ValueError(
                f"tokens have shape {tuple(texts.shape)} and dtype {texts.dtype}, but must be "
                f"whole numbers of shape (B, L), at least one row, L at most {text.context}"
            )
        texts = texts.to("cpu", torch.long)
        low, high = (int(end) for end in texts.aminmax())
        if low < 0 or high >= text.vocabulary:
            raise ValueError(
                f"tokens run from {low} to {high}, but this CLIP knows 0 to "
                f"{text.vocabulary - 1}: use the tokenizer that it was trained with"
            )
        ends = texts == text.end
        if not ends.any(1).all():
            raise ValueError(
                f"a row of tokens has no end token, {text.end}, from which its meaning is read: "
                "use the tokenizer that this CLIP was trained with"
            )
        # Attention is causal, so what no text of the batch reaches need not be computed.
        longest = int(ends.int().argmax(1).max()) + 1
        return moved(texts[:, :longest], device)

    def read(self, captions: str | Sequence[str]) -> Tensor:
        """Captions as tokens (B, L) long. Raises ValueError for words that nobody taught it: they
        could be spelled out, but would mean nothing to it."""
        tokenizer = self.tokenizer or course_tokenizer()
        if len(tokenizer) != self.config.text.vocabulary:
            raise ValueError(
                f"captions are {short(captions)}, but this CLIP knows "
                f"{self.config.text.vocabulary} tokens and its tokenizer has {len(tokenizer)}: "
                "build it as CLIP(config, tokenizer), or give tokens (B, L)"
            )
        tokens = tokenizer.encode(captions).ids
        for caption in [captions] if isinstance(captions, str) else captions:
            if unknown := tokenizer.unknown(caption):
                raise ValueError(
                    f"{short(caption)} has words that this CLIP has never read "
                    f"({', '.join(unknown)}): say it in words of the captions that it learned from"
                )
        return tokens
