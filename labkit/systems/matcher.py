"""The matcher of multi-modality cross attention: scores of regions with words.

Source: Wei et al. 2020, section 3; see `labkit.systems.mmca` for what is left open there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.batches import moved
from labkit.inputs import number, one_of, same_dtype, whole_number
from labkit.nets.attention import SelfAttention, attend, inner_width
from labkit.nets.bert import Bert, BertConfig
from labkit.nets.pooling import TextCNN, average
from labkit.nets.transformer import Block
from labkit.scenes import tokenizer as course
from labkit.scenes.matches import Matches
from labkit.scenes.regions import PLACE, Regions
from labkit.systems.bert import MaskedLM
from labkit.systems.hinge import hardest_hinge, sum_hinge
from labkit.systems.joint import Encoded, blocks, read

BRANCHES = ("both", "self", "cross")
DIRECTIONS = ("captions", "pictures")  # what is searched
PAIRS = 64  # joint passes at a time: sentences of about the same length, little padding


@dataclass(frozen=True)
class MatcherConfig:
    """All that there is to choose about a `Matcher`."""

    text: BertConfig = field(default_factory=BertConfig)
    features: int = 2112  # numbers of each region
    width: int = 256  # of regions, words, and the space in which they meet
    heads: int = 16
    hidden: int = 2048  # units between the two linear maps of a transformer unit
    filters: int = 512  # of each window width of the text-CNNs
    branches: str = "both"  # or "self", or "cross" alone
    beta: float = 1.0  # what the cross branch weighs
    margin: float = 0.2
    warmup: int = 500  # batches with the sum over all negatives; then the hardest alone
    among: int | None = None  # neighbors of a batch that are each other's negatives; None: all

    def __post_init__(self):
        if isinstance(self.text, dict):  # JSON knows no dataclass
            object.__setattr__(self, "text", BertConfig(**self.text))
        for name in ("features", "width", "heads", "hidden", "filters"):
            whole_number(getattr(self, name), f"a matcher's {name}", 1)
        inner_width(self.width, self.heads, None)
        one_of(self.branches, BRANCHES, "choice of branches")
        number(self.beta, "beta", 0)
        number(self.margin, "the margin", 0)
        whole_number(self.warmup, "warmup", 0)
        if self.among is not None:
            whole_number(self.among, "the number of pairs among which negatives are sought", 2)


def unit(config: MatcherConfig) -> Block:
    """A transformer unit: attention and two linear maps, norms behind the sums."""
    w = config.width
    wide = nn.Sequential(nn.Linear(w, config.hidden), nn.GELU(), nn.Linear(config.hidden, w))
    return Block(nn.LayerNorm(w), SelfAttention(w, config.heads), wide, post=True)


def whole(regions: Regions) -> Tensor:
    """Whether each picture has a region, and all numbers are finite: one look at the device."""
    finite = regions.features.isfinite().all() & regions.places.isfinite().all()
    return regions.mask.any(1).all() & finite


class Matcher(nn.Module):
    """Regions and words in, scores out: S(I, T) = i0·c0 + β i1·c1.

    The self-attention branch sees each picture and each sentence by itself, so i0 and c0 can be
    kept. The cross-attention branch sees both together: its i1 and c1 belong to the pair.
    """

    def __init__(self, config: MatcherConfig):
        super().__init__()
        self.config = c = config
        self.text = Bert(c.text)
        self.region, self.region_norm = nn.Linear(c.features, c.width), nn.LayerNorm(c.width)
        self.place, self.place_norm = nn.Linear(PLACE, c.width), nn.LayerNorm(c.width)
        self.word = nn.Linear(c.text.width, c.width)
        if c.branches != "cross":
            self.region_unit = unit(c)
            self.sentence = TextCNN(c.text.width, c.filters, c.width)
        if c.branches != "self":
            self.joint_unit = unit(c)
            self.joint_sentence = TextCNN(c.width, c.filters, c.width)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))  # batches trained on

    def begin_from(self, bert: MaskedLM) -> None:
        """Takes over the text encoder. Raises ValueError if it is of another size."""
        if bert.config != self.config.text:
            raise ValueError(
                f"the BERT is {bert.config}, but this matcher reads with {self.config.text}: give "
                "one of that configuration"
            )
        self.text.load_state_dict(bert.encoder.state_dict())

    # Each modality by itself

    def encode_image(self, regions: Regions) -> Encoded:
        """Regions of B pictures. Raises ValueError for no region, or one of another width, or
        that is not finite."""
        regions = self.checked(regions)
        mask = regions.mask
        numbers = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        lengths = (mask * numbers).amax(1).cpu()  # any region may be hidden, not the last ones only
        seen = self.region_norm(self.region(regions.features))
        tokens = (seen + self.place_norm(self.place(regions.places))) / 2  # (B, M, D)
        vector = tokens.new_zeros(tokens.shape[0], tokens.shape[2])
        if self.config.branches != "cross":
            vector = self.region_unit(tokens, mask[:, None, None])
            vector = F.normalize(average(vector, mask), dim=1)
        return Encoded(vector, tokens, mask, lengths)

    def encode_text(self, captions: str | Sequence[str]) -> Encoded:
        """B captions, with begin and end as their first and last words. Raises ValueError for what
        the tokenizer cannot read, and for words that no caption has."""
        tokens = read(captions, self.config.text.context)
        ids, mask = moved(tokens, devices.of(self))
        states = self.text(ids, mask)
        vector = states.new_zeros(len(states), self.config.width)
        if self.config.branches != "cross":
            vector = F.normalize(self.sentence(states, mask), dim=1)
        return Encoded(vector, self.word(states), mask, tokens.mask.sum(1))

    # Both together

    def joined(self, images: Encoded, texts: Encoded, across: bool) -> tuple[Tensor, Tensor]:
        """[regions; words] of B pairs, (B, M + L, D), and what each may look at: everything that
        is no padding, or without ``across`` only its own modality. (B, 1, 1 or M + L, M + L)"""
        x = torch.cat([images.tokens, texts.tokens], 1)
        mask = torch.cat([images.mask, texts.mask], 1)[:, None, None]
        if not across:
            region = torch.arange(x.shape[1], device=x.device) < images.tokens.shape[1]
            mask = mask & (region[:, None] == region)
        return x, mask

    def cross_vectors(
        self, images: Encoded, texts: Encoded, across: bool = True
    ) -> tuple[Tensor, Tensor]:
        """i1 and c1 of picture n with sentence n, unit vectors, (B, D) each. Without ``across`` no
        modality looks at the other, and what is left is self-attention."""
        self.has_branch("cross", "cross vectors")
        M = images.tokens.shape[1]
        x = self.joint_unit(*self.joined(images, texts, across))
        regions, words = x[:, :M], x[:, M:]
        image = F.normalize(average(regions, images.mask), dim=1)
        return image, F.normalize(self.joint_sentence(words, texts.mask), dim=1)

    def attention(self, images: Encoded, texts: Encoded, across: bool = True) -> Tensor:
        """What each region and word of a pair looks at in the cross branch, (B, heads, M + L,
        M + L), rows summing to 1; see `blocks`. Raises ValueError for unequal numbers of both."""
        self.has_branch("cross", "attention")
        if len(images.tokens) != len(texts.tokens):
            raise ValueError(
                f"there are {len(images.tokens)} pictures and {len(texts.tokens)} sentences, but "
                "picture n looks at sentence n: give as many of both"
            )
        layer = self.joint_unit.attention
        x, mask = self.joined(images, texts, across)
        q, k, v = layer.qkv(x).chunk(3, dim=2)
        return attend(q, k, v, layer.heads, mask, weights=True)[1]

    def word_regions(self, images: Encoded, texts: Encoded) -> Tensor:
        """How strongly each word looks at each region, as a share of what it looks at of the
        picture, the mean over the heads: (B, L, M). 0 for padding."""
        looked = blocks(self.attention(images, texts), images.tokens.shape[1]).ER
        looked = looked / looked.sum(3, keepdim=True)
        return looked.mean(1) * texts.mask[..., None]

    # Scores

    def cheap_scores(self, images: Encoded, texts: Encoded) -> Tensor:
        """i0·c0 of all pairs, (B, N): one product of matrices."""
        self.has_branch("self", "cheap scores")
        return images.vector @ texts.vector.T

    def pair_scores(self, images: Encoded, texts: Encoded) -> Tensor:
        """S of picture n with sentence n, (B,)."""
        score = (images.vector * texts.vector).sum(1)
        if self.config.branches == "self":
            return score
        image, text = self.cross_vectors(images, texts)
        return score + self.config.beta * (image * text).sum(1)

    def scores(
        self, images: Encoded, texts: Encoded, top: int | None = None, of: str = "captions"
    ) -> Tensor:
        """S of B pictures with N sentences, (B, N). The cross branch makes a pass for each pair.

        top: only for the ``top`` best by cheap score, of the captions of each picture or, with
        of="pictures", of the pictures of each caption. All others stand behind these, in the order
        of the cheap score. Raises ValueError if it is not in 1 … N (or B).
        """
        B, N = len(images.tokens), len(texts.tokens)
        axis = DIRECTIONS.index(one_of(of, DIRECTIONS, "direction"))
        if top is not None:
            whole_number(top, "top", 1, (N, B)[axis])
        if self.config.branches == "self":
            return self.cheap_scores(images, texts)
        if top is None:
            return self.chosen_scores(images, texts, torch.ones(B, N, dtype=torch.bool))
        cheap = self.cheap_scores(images, texts)
        best = cheap.topk(top, 1 - axis).indices.cpu()
        chosen = torch.zeros(B, N, dtype=torch.bool).scatter(1 - axis, best, True)
        behind = cheap - 2 * (1 + self.config.beta)  # S is at least -(1 + β)
        found = self.chosen_scores(images, texts, chosen)
        return torch.where(moved(chosen, found.device), found, behind)

    def chosen_scores(self, images: Encoded, texts: Encoded, chosen: Tensor) -> Tensor:
        """S of those pairs (B, N) bool, on the CPU; 0 for the others."""
        rows, columns = chosen.nonzero().unbind(1)
        order = texts.lengths[columns].argsort(
            stable=True
        )  # with others of their length, sentences
        rows, columns = rows[order], columns[order]  # need little padding
        found = [
            self.pair_scores(images.take(i), texts.take(j).trimmed())
            for i, j in zip(rows.split(PAIRS), columns.split(PAIRS))
        ]
        where = moved(rows * chosen.shape[1] + columns, images.tokens.device)
        nothing = images.tokens.new_zeros(chosen.numel())
        return nothing.scatter(0, where, torch.cat(found).to(nothing.dtype)).view(chosen.shape)

    def loss(self, batch: Matches) -> Tensor:
        """What a pair costs, a scalar: the mean over B pairs of both its hinges, over all negatives
        for the first ``config.warmup`` batches and with the hardest one after. Raises ValueError
        for a batch of unequal halves, or without a wrong pair among those that are compared."""
        images, texts = self.encode_image(batch.regions), self.encode_text(batch.captions)
        B = len(images.tokens)
        true = batch.true
        if len(texts.tokens) != B or B < 2 or true.shape != (B, B) or true.dtype != torch.bool:
            raise ValueError(
                f"the batch has {B} pictures, {len(texts.tokens)} captions and a table `true` of "
                f"shape {tuple(true.shape)} and {true.dtype}, but must have as many captions as "
                "pictures, at least two, and a row and a column of `true` for each, of bool"
            )
        group = torch.arange(B) // (self.config.among or B)
        near = group[:, None] == group  # (B, B), the pairs that the cross branch looks at
        neutral = true | ~moved(near, true.device)
        if neutral.all():
            raise ValueError(
                "every caption is true of every picture with which it is compared, so that there "
                "is no wrong pair to learn from: give pictures that differ in what is said"
            )
        scores, margin = self.chosen_scores(images, texts, near), self.config.margin
        every, hardest = (kind(scores, margin, neutral) for kind in (sum_hinge, hardest_hinge))
        costs = torch.where(self.seen < self.config.warmup, every, hardest)  # (2, B)
        if self.training:
            self.seen += 1
        return costs.sum(0).mean()

    # Doors

    def words(self, caption: str) -> list[str]:
        """The tokens of a caption, with begin and end: what the rows of its attention stand for."""
        return [course.BEGIN, *course.load().split(caption), course.END]

    def checked(self, regions: Regions) -> Regions:
        """The regions, where the matcher lies. Raises ValueError unless they fit."""
        width, shape = self.config.features, "no features"
        if isinstance(regions, Regions):
            shape, (B, M) = f"features of shape {tuple(regions.features.shape)}", regions.mask.shape
            shapes = [table.shape for table in regions] == [(B, M, width), (B, M, PLACE), (B, M)]
            if B and shapes and regions.mask.dtype == torch.bool and whole(regions):
                same_dtype(regions.features, self.region.weight, "this matcher")
                places = regions.places.to(self.place.weight.dtype)
                return moved(regions._replace(places=places), devices.of(self))
        raise ValueError(
            f"regions is a {type(regions).__name__} with {shape}, but must be Regions of at least "
            f"one picture, each with at least one region of {width} numbers, all of "
            "them finite: take what labkit.scenes.regions.propose gives"
        )

    def has_branch(self, branch: str, what: str) -> None:
        if self.config.branches not in ("both", branch):
            raise ValueError(
                f"a matcher of branches={self.config.branches!r} has no {what}, which the {branch} "
                "branch makes: build it with branches='both'"
            )
