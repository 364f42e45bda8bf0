"""Multi-modality cross attention: which sentence belongs to which picture, asked of its regions
and words together.

Source: Wei et al. 2020, "Multi-Modality Cross Attention Network for Image and Sentence Matching",
section 3. We found no published code; where its details are not known to us, this follows SAEM
(Wu et al. 2019), on which it builds, and LXMERT (Tan & Bansal 2019):

- Where a region is (its place and size) is added to what is seen in it, each behind a norm, as in
  LXMERT: without it nobody could know what is left of what.
- BERT is trained on with the rest (SAEM's is frozen).
- beta is 1, the margin 0.2, as SAEM's. The hinge over all negatives comes before the hardest one.
- A caption that is true of another picture of the batch is no negative: in this world that is
  known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit.inputs import one_of, whole_number
from labkit.scenes.reader import Reader
from labkit.scenes.regions import Regions, propose
from labkit.systems.joint import Encoded
from labkit.systems.matcher import DIRECTIONS, Matcher


class Found(NamedTuple):
    """What was found for each of Q queries, best first."""

    rows: Tensor  # (Q, k) long, numbers in the gallery
    scores: Tensor  # (Q, k)


class MMCA(nn.Module):
    """Pictures and sentences: a reader proposes the regions, a matcher compares them with words.

        mmca = zoo.load("mmca-scenes")
        gallery = mmca.encode_image(pictures)
        found = mmca.search(mmca.encode_text("a star left of a moon"), gallery, k=5)

    Raises ValueError for a matcher of regions of another width.
    """

    def __init__(self, reader: Reader, matcher: Matcher):
        super().__init__()
        self.reader, self.matcher = reader, matcher
        width = reader.second[-1].in_features + reader.config.deep
        if matcher.config.features != width:
            raise ValueError(
                f"the reader gives {width} numbers for each region, but the matcher takes "
                f"{matcher.config.features}: use a reader like the one that it learned with"
            )

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What it is made of, as its constructor takes it."""
        return {"reader": self.reader, "matcher": self.matcher}

    def regions(self, pictures: Tensor) -> Regions:
        """The regions of pictures (B, 3, S, S) in [−1, 1]; see `propose`."""
        return propose(self.reader, pictures)

    def encode_image(self, pictures: Tensor) -> Encoded:
        """Pictures (B, 3, S, S) in [−1, 1], each by itself."""
        return self.matcher.encode_image(self.regions(pictures))

    def encode_text(self, captions: str | Sequence[str]) -> Encoded:
        """Captions, each by itself."""
        return self.matcher.encode_text(captions)

    def forward(self, pictures: Tensor, captions: str | Sequence[str]) -> Tensor:
        """How well each of B pictures goes with each of N captions, (B, N)."""
        return self.scores(self.encode_image(pictures), self.encode_text(captions))

    def scores(
        self, images: Encoded, texts: Encoded, top: int | None = None, of: str = "captions"
    ) -> Tensor:
        """The scores of all pairs, (B, N); see `Matcher.scores`."""
        return self.matcher.scores(images, texts, top, of)

    @torch.no_grad()
    def search(
        self,
        queries: Encoded,
        gallery: Encoded,
        k: int = 5,
        top: int | None = None,
        of: str = "pictures",
    ) -> Found:
        """The k best of a gallery for each query.

        of: what the gallery holds, "pictures" (the queries are captions) or "captions". top: the
        cross branch looks at the ``top`` best of the cheap score only, k ≤ top; None: at all.
        Raises ValueError for a gallery with nothing to choose from, and for k or top below 1 or
        above what there is.
        """
        one_of(of, DIRECTIONS, "direction")
        size = len(gallery.tokens)
        if size < 2:
            raise ValueError(
                f"the gallery holds {size} of the {of}, so there is nothing to rank: give at "
                "least two"
            )
        top = None if top is None else whole_number(top, "top", 1, size)
        k = whole_number(k, "k", 1, top or size)
        images, texts = (gallery, queries) if of == "pictures" else (queries, gallery)
        scores = self.scores(images, texts, top, of)
        best = (scores.T if of == "pictures" else scores).topk(k, 1)
        return Found(best.indices, best.values)
