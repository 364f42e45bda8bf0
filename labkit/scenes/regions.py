"""Regions of a picture with what is seen in each: what image-sentence matching takes for words.

    found = propose(zoo.load("reader-scenes"), pictures)
    found.features, found.places, found.mask

Bottom-up attention (Anderson et al. 2018) proposes regions with a Faster R-CNN that was trained to
name objects and attributes, and keeps what its second stage computes before it names them, 2,048
numbers for each. Here the attribute reader does both: its first look finds objects, its second
look cuts each of them out, and the 128 maps of 4 x 4 before the names are 2,048 numbers as well.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import devices
from labkit.inputs import picture_batch, sized_pictures, whole_number
from labkit.scenes.reader import FRAME, MOST_SEEN, Reader, Spots, cut_out

MOST = 1 + MOST_SEEN  # regions of a picture: the whole of it, and every object that is seen
WHOLE = 0.5 / FRAME  # the radius that makes `cut_out` cut out the whole picture
PLACE = 4  # numbers that say where a region is


class Regions(NamedTuple):
    """Up to `MOST` regions of each of B pictures. The first is always the whole picture; the others
    are the objects that were found, most certain ones first."""

    features: Tensor  # (B, M, D) float: the close-up, then the first look's map at that place
    places: Tensor  # (B, M, 4) float: x, y, radius (shares of the side), 1 if inside another object
    mask: Tensor  # (B, M) bool, True = a region

    def take(self, rows: Tensor | slice) -> Regions:
        """The regions of those pictures alone."""
        return Regions(*(tensor[rows] for tensor in self))


@torch.no_grad()
def propose(reader: Reader, pictures: Tensor, batch: int = 256) -> Regions:
    """The regions of pictures (B, 3, S, S) in [−1, 1], M as many as the picture with the most has;
    the answer lies where the reader does. Raises ValueError for pictures of another size or range.
    """
    picture_batch(pictures, "pictures")
    sized_pictures(pictures, 3, reader.config.size, reader.background.weight, "this reader")
    batches, device = pictures.split(whole_number(batch, "batch", 1)), devices.of(reader)
    with devices.evaluating(reader):
        parts = [looked(reader, part.to(device)) for part in batches]
    found = Regions(*(torch.cat(tensors) for tensors in zip(*parts)))
    most = int(found.mask.sum(1).max())
    return Regions(*(tensor[:, :most] for tensor in found))


def looked(reader: Reader, pictures: Tensor) -> Regions:
    """All `MOST` places of regions, those on which there is none masked and zero."""
    N = len(pictures)
    maps = reader.first(pictures)  # (N, C, G, G)
    here, sheet, spots = reader.spots(reader.present(maps).sigmoid(), reader.radius(maps))  # (N, M)
    order = here.int().argsort(
        dim=1, descending=True, stable=True
    )  # those that are there come first
    here, sheet, *at = (table.gather(1, order) for table in (here, sheet, *spots))
    middle = torch.full_like(at[0][:, :1], 0.5)
    whole = (middle, middle, torch.full_like(middle, WHOLE))
    spots = Spots(*(torch.cat(pair, 1) for pair in zip(whole, at)))  # (N, 1 + M) each
    mask = torch.cat([torch.ones_like(here[:, :1]), here], 1)
    inside = torch.cat([torch.zeros_like(middle), sheet.to(middle)], 1)
    places = torch.stack([*spots, inside], 2) * mask[..., None]

    rows = mask.nonzero()[:, 0]
    close = reader.second[:-1](cut_out(pictures, rows, Spots(*(table[mask] for table in spots))))
    grid = torch.stack([spots.x, spots.y], 2)[:, :, None] * 2 - 1  # (N, 1 + M, 1, 2)
    around = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)  # (N, C, 1+M, 1)
    around = around[..., 0].mT.clone()  # (N, 1 + M, C)
    around[:, 0] = maps.mean((2, 3))
    features = pictures.new_zeros(N, mask.shape[1], close.shape[1] + around.shape[2])
    features[mask] = torch.cat([close, around[mask]], 1)
    return Regions(features, places, mask)
