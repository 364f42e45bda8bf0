"""Sees what is in a picture of a scene: where the objects are, then each of them close up.

The first look divides the picture into a grid of cells. An object belongs to the four cells around
its center, to each as much as it is near (the bilinear weights), so that their answers add up to
one object and the center follows from them. What lies inside another object has a second sheet of
the grid, since its center is where the outer one's is. The second look cuts every object out, at
one size, and names its shape, color and fill (as Faster R-CNN does, Ren et al. 2015).

What the shipped `reader-scenes` has right, in % of the objects of 2,000 scenes it never saw
(`python -m benchmarks.reader`; `reader-scenes-b`, smaller and trained apart from it, is a second
judge for `benchmarks.text_to_scenes`):

    pictures                      shape   color    size    fill
    clean                         100.0   100.0   100.0   100.0
    blurred, Gaussian of 0.6 px   100.0   100.0   100.0    99.9
    blurred, Gaussian of 1 px      99.0    99.2    99.9    95.3
    noise of standard dev. 0.1    100.0   100.0   100.0    99.9
    noise of standard dev. 0.2     99.7    99.9    99.9    98.9
    noise of standard dev. 0.3     97.4    99.8    99.6    96.1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.inputs import picture_batch, sized_pictures, whole_number
from labkit.scenes.world import ATTRIBUTES, BACKGROUNDS, RADII, SIZES, Scenes

SHEETS = 2  # 0: on the background, 1: inside another object
NAMED = {name: len(words) for name, words in ATTRIBUTES.items() if name != "size"}
MOST_SEEN = 6  # objects looked for, twice what a scene holds: a sample may show too many
LEAST, MOST = RADII["small"][0], RADII["large"][1]
CLOSE_UP = 16  # pixels a side of what is cut out
FRAME = 1.3  # half its side, in radii of the object


@dataclass(frozen=True)
class ReaderConfig:
    """All that there is to choose about a `Reader`."""

    size: int = 32  # side of the square picture; the grid has a quarter of it
    width: int = 32  # channels at half the picture's side
    deep: int = 64  # channels on the grid
    close: int = 64  # channels of the second look, twice as many at its end

    def __post_init__(self):
        for name in ("size", "width", "deep", "close"):
            whole_number(getattr(self, name), f"a reader's {name}", 1)
        if self.size % 4 or self.size < 16:
            raise ValueError(
                f"a reader's size is {self.size}, but must be a multiple of 4 from 16 on"
            )


class Spots(NamedTuple):
    """Where objects are: centers and radii, shares of the picture's side, all of one shape."""

    x: Tensor
    y: Tensor
    radius: Tensor


class ConvBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, convolve in zip(self.norms, self.convs):
            h = convolve(F.relu(norm(h)))
        return x + h


class Reader(nn.Module):
    """Pictures in, scenes out: ``read(pictures) -> Scenes``."""

    def __init__(self, config: ReaderConfig):
        super().__init__()
        self.config = c = config
        self.side = c.size // 4  # of the grid
        # 2 x 2 pixels become channels: nothing is lost, and what follows is cheaper
        self.first = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, c.width, 3, padding=1), ConvBlock(c.width),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * c.width, c.deep, 1),
            ConvBlock(c.deep), ConvBlock(c.deep), nn.GroupNorm(1, c.deep), nn.ReLU(),
        )  # fmt: skip
        self.present = nn.Conv2d(c.deep, SHEETS, 1)
        self.radius = nn.Conv2d(c.deep, SHEETS, 1)
        self.background = nn.Linear(c.deep, len(BACKGROUNDS))
        self.second = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, c.close, 3, padding=1), ConvBlock(c.close),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * c.close, 2 * c.close, 1), ConvBlock(2 * c.close),
            nn.GroupNorm(1, 2 * c.close), nn.ReLU(), nn.Flatten(),
            nn.Linear(2 * c.close * (CLOSE_UP // 4) ** 2, sum(NAMED.values())),
        )  # fmt: skip
        nn.init.constant_(self.present.bias, -4.0)  # most cells are empty
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first look at pictures (N, 3, S, S) in [-1, 1]: logits of how much of an object's
        center each cell holds, (N, 2, G, G), its radius (0 the least, 1 the most), (N, 2, G, G),
        and logits of the background, (N, 6)."""
        sized_pictures(x, 3, self.config.size, self.background.weight, "this reader")
        h = self.first(x)  # (N, D, G, G)
        return self.present(h), self.radius(h), self.background(h.mean((2, 3)))

    def close_up(self, x: Tensor, rows: Tensor, at: Spots) -> list[Tensor]:
        """The second look at K objects of pictures x (N, 3, S, S): logits of `NAMED`, (K, ...).

        rows: (K,) the picture of each object; at: its place, each (K,).
        """
        return list(self.second(cut_out(x, rows, at)).split(list(NAMED.values()), 1))

    def loss(self, batch) -> Tensor:
        """How surprising the truth is, a scalar. batch: (pictures, captions, `Scenes`), as
        `labkit.scenes.batches` draws it; the captions are not looked at."""
        pictures, _, truth = batch
        present, radius, background = self(pictures)
        share, cells = self.cells(truth)  # (N, 3, 4)
        wanted = torch.zeros_like(present, dtype=share.dtype).flatten(1)  # (N, 2 G G)
        wanted.scatter_add_(1, cells.flatten(1), share.flatten(1))
        loss = F.binary_cross_entropy_with_logits(
            present.flatten(1), wanted.clamp(max=1), reduction="sum"
        ) / len(pictures)
        loss = loss + F.cross_entropy(background, truth.background)

        here = truth.present
        near = radius.flatten(1).gather(1, cells.flatten(1)).view_as(share)  # (N, 3, 4)
        said = LEAST + (MOST - LEAST) * (near * share).sum(2)[here]
        loss = loss + 100 * F.mse_loss(said, truth.radius[here])

        rows = here.nonzero()[:, 0]
        shaky = torch.rand(3, len(rows)).to(pictures.device) * 2 - 1  # the first look may err
        spots = Spots(
            truth.x[here] + 0.012 * shaky[0], truth.y[here] + 0.012 * shaky[1],
            truth.radius[here] * (1 + 0.07 * shaky[2]),
        )  # fmt: skip
        for name, logits in zip(NAMED, self.close_up(pictures, rows, spots)):
            loss = loss + F.cross_entropy(logits, getattr(truth, name)[here])
        return loss

    def cells(self, truth: Scenes) -> tuple[Tensor, Tensor]:
        """The four cells around each center: what share of the object each holds, (N, 3, 4), and
        their numbers among all cells of both sheets."""
        G = self.side
        x, y = (at * G - 0.5 for at in (truth.x, truth.y))  # in cells, from the first one's center
        left, top = (at.floor().long().clamp(0, G - 2) for at in (x, y))
        right, down = (x - left).clamp(0, 1), (y - top).clamp(0, 1)  # how far towards the next cell
        share = torch.stack([(1 - right) * (1 - down), right * (1 - down),
                             (1 - right) * down, right * down], 2)  # fmt: skip
        first = (truth.inside >= 0).long() * G * G + top * G + left
        cells = first[..., None] + torch.tensor([0, 1, G, G + 1], device=first.device)
        return share * truth.present[..., None], cells

    @torch.no_grad()
    def read(self, pictures: Tensor, batch: int = 512) -> Scenes:
        """What is in pictures (N, 3, S, S) in [-1, 1], up to six objects in each, those on the
        background first; the answer lies where the pictures do. Raises ValueError for pictures of
        another size or range."""
        picture_batch(pictures, "pictures")
        batches, device = pictures.split(whole_number(batch, "batch", 1)), devices.of(self)
        with devices.evaluating(self):
            parts = [self.seen(part.to(device)) for part in batches]
        return Scenes(*(torch.cat(tensors).to(pictures.device) for tensors in zip(*parts)))

    def seen(self, pictures: Tensor) -> Scenes:
        present, radius, background = self(pictures)
        here, inside, spots = self.spots(present.sigmoid(), radius)  # (N, M)
        rows = here.nonzero()[:, 0]
        named = {name: torch.full_like(inside, -1) for name in NAMED}
        if len(rows):
            places = Spots(*(t[here] for t in spots))
            for name, logits in zip(NAMED, self.close_up(pictures, rows, places)):
                named[name][here] = logits.argmax(1)
        between = (RADII["small"][1] + RADII["large"][0]) / 2
        size = torch.where(here, (spots.radius > between).long(), -1)
        found = Scenes(
            **named, size=size, inside=torch.where(here, inside, -1), **spots._asdict(),
            background=background.argmax(1),
        )  # fmt: skip
        return tidied(found)

    def spots(self, share: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Spots]:
        """The most likely places of objects: whether there is one, its sheet, and where, (N, M)."""
        N, G = len(share), self.side
        share, all_rows = share.clone(), torch.arange(N, device=share.device)
        found = []
        for _ in range(MOST_SEEN):
            # The square of 2 x 2 cells that holds most; what it holds is taken out for the next.
            held = F.avg_pool2d(share, 2, stride=1).flatten(1) * 4  # (N, 2 (G-1)²)
            mass, best = held.max(1)
            sheet, place = best // (G - 1) ** 2, best % (G - 1) ** 2
            top, left = place // (G - 1), place % (G - 1)
            cells = [(all_rows, sheet, top + a, left + b) for a in (0, 1) for b in (0, 1)]
            part = torch.stack([share[cell] for cell in cells], 1)  # (N, 4)
            part = part / part.sum(1, keepdim=True)
            size = (part * torch.stack([radius[cell] for cell in cells], 1)).sum(1)
            x = (left + part[:, 1] + part[:, 3] + 0.5) / G
            y = (top + part[:, 2] + part[:, 3] + 0.5) / G
            found.append((mass > 0.5, sheet, x, y, LEAST + (MOST - LEAST) * size.clamp(0, 1)))
            for cell in cells:
                share[cell] = 0
        here, sheet, x, y, size = (torch.stack(values, 1) for values in zip(*found))
        return here, sheet, Spots(x, y, size)


def cut_out(x: Tensor, rows: Tensor, at: Spots) -> Tensor:
    """Squares of pictures x (N, 3, S, S) around K objects, (K, 3, 16, 16). rows: (K,) the picture
    of each object; at: its place, each (K,)."""
    step = (torch.arange(CLOSE_UP, device=x.device) + 0.5) / CLOSE_UP * 2 - 1  # (P,)
    reach = FRAME * at.radius[:, None] * step  # (K, P)
    across, down = (2 * (center[:, None] + reach) - 1 for center in (at.x, at.y))
    grid = torch.stack(
        [across[:, None].expand(-1, CLOSE_UP, -1), down[:, :, None].expand(-1, -1, CLOSE_UP)], 3
    )  # (K, P, P, 2)
    return F.grid_sample(x[rows], grid, padding_mode="border", align_corners=False)


def tidied(found: Scenes) -> Scenes:
    """What was read, with radii that fit the sizes, objects on the background first, and with the
    object that each inner one lies in: the nearest that is not itself inside another."""
    sheet = torch.where(found.present, found.inside, SHEETS)
    order = sheet.argsort(dim=1, stable=True)  # (N, M)
    found = Scenes(*(t.gather(1, order) for t in found[:-1]), found.background)
    here, size = found.present, found.size.clamp(min=0)
    low, high = (torch.tensor([RADII[name][end] for name in SIZES]).to(found.x) for end in (0, 1))
    x, y, radius = (
        torch.where(here, t, 0)
        for t in (found.x, found.y, found.radius.clamp(low[size], high[size]))
    )
    far = torch.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None])
    outer = (found.inside == 0)[:, None, :]  # (N, 1, j)
    gap, nearest = torch.where(outer, far, torch.inf).min(2)  # (N, i)
    inside = torch.where((found.inside == 1) & gap.isfinite(), nearest, -1)
    return found._replace(x=x, y=y, radius=radius, inside=inside)


def augmented(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (N, 3, S, S), of which about a third is left as it is, a third somewhat blurred and
    a third noisy: samples of a network are never quite clean, and are to be read as well."""
    N = len(pictures)
    fate = torch.randint(3, (N, 1, 1, 1), generator=generator)
    much = torch.rand(N, 1, 1, 1, generator=generator)
    soft = F.avg_pool2d(F.pad(pictures, [1] * 4, mode="replicate"), 3, stride=1)
    noise = torch.randn(pictures.shape, generator=generator)
    blurred = torch.lerp(pictures, soft, 0.7 * much * (fate == 1))
    return (blurred + 0.15 * much * (fate == 2) * noise).clamp(-1, 1)
