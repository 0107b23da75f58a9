"""Batches for training the descriptor: which pictures, beside which neighbours, in which two views.

Training pictures on the device → **two views of each picture of a batch** → network and loss. Most pictures of a hard
batch are near neighbours of one another by the current network.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neardup_platform.learning.embedder.caption_masks import caption_masks
from neardup_platform.learning.embedder.descriptor_pictures import TrainingPictures
from neardup_platform.learning.embedder.descriptor_recipe import Recipe
from neardup_platform.learning.embedder.torch_draws import Draws
from neardup_platform.learning.embedder.torch_views import make_views, resize

_NEAREST = 16
_CAPTIONS = 600
_EMBEDDED_AT_ONCE, _COMPARED_AT_ONCE = 512, 2_048
# Of first views: those altered fully, the most that others are altered, and those then replaced by the picture itself.
_STRONG_SHARE, _MILD_MOST, _UNALTERED_SHARE = 0.35, 0.35, 0.12
_SECOND_LEAST = 0.3
# Of icons: those of which the other view is one too.
_BOTH_ICONS_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class DevicePictures:
    """Training pictures on the device, photographs first.

    Attributes:
        squares: uint8 [n, 3, 256, 256].
        aspects: float32 [n], width divided by height before they were squeezed.
        photographs: number of rows that are photographs.
        masks: uint8 [m, 1, 64, 256], of captions.
    """

    squares: Any
    aspects: Any
    photographs: int
    masks: Any


def move(pictures: TrainingPictures, seed: int, device: Any) -> DevicePictures:
    """Move pictures to the device, and captions drawn by `seed` with them."""
    squares = torch.from_numpy(pictures.squares).to(device).permute(0, 3, 1, 2).contiguous()
    masks = torch.from_numpy(caption_masks(_CAPTIONS, np.random.default_rng(seed))).to(device)
    return DevicePictures(squares, torch.from_numpy(pictures.aspects).to(device), pictures.photographs, masks)


def choose_pictures(nearest: Any, photographs: int, recipe: Recipe, draws: Draws) -> Any:
    """Choose the pictures of a batch; in a hard one, some at random and neighbours of each.

    Args:
        nearest: int64 [n, 16], the nearest other pictures of each.
        photographs: number of rows that are photographs, the first ones.
        recipe: batch size and shares.
        draws: source of every random choice.

    Returns:
        int64 [recipe.batch], all different.
    """
    batch, others = recipe.batch, recipe.neighbours
    shown = draws.order(photographs)[: recipe.photographs]
    drawn = photographs + draws.order(len(nearest) - photographs)[: batch - recipe.photographs]
    seeds = torch.cat([shown, drawn])[draws.order(batch)]
    if not draws.chance(1, recipe.hard_share).item():
        return seeds
    first = seeds[: batch // (1 + others)]
    beside = nearest[first][:, draws.order(_NEAREST)[:others]]
    rows = torch.unique(torch.cat([first, beside.flatten()]))
    return torch.cat([rows, seeds[~torch.isin(seeds, rows)]])[:batch]


def two_views(pictures: DevicePictures, rows: Any, recipe: Recipe, draws: Draws) -> Any:
    """First and second views, float32 [2n, 3, s, s]; the second ones are altered more."""
    squares, aspects, n = pictures.squares[rows], pictures.aspects[rows], len(rows)
    icons = draws.chance(n, recipe.tiny_share)
    mild = torch.where(draws.chance(n, _STRONG_SHARE), 1.0, draws.uniform(n, 0, _MILD_MOST))
    strong = draws.uniform(n, _SECOND_LEAST, 1)
    both = icons & draws.chance(n, _BOTH_ICONS_SHARE)
    first = make_views(squares, aspects, icons, mild, pictures.masks, recipe.side_px, draws)
    second = make_views(squares, aspects, both, strong, pictures.masks, recipe.side_px, draws)
    unaltered = draws.rows(n, _UNALTERED_SHARE)
    if len(unaltered):
        first[unaltered] = resize(squares[unaltered], recipe.side_px)
    return torch.cat([first, second]).contiguous(memory_format=torch.channels_last)


def embed(network: Any, squares: Any, side_px: int, function: Any = None) -> Any:
    """Features or vectors of unaltered pictures, in evaluation mode.

    Args:
        network: the network; it is left in the mode in which it was.
        squares: uint8 [n, 3, h, w].
        side_px: side of the views.
        function: of the network; None for its vectors.

    Returns:
        float32 [n, dim].
    """
    learning = network.training
    network.eval()
    with torch.no_grad(), half_precision(squares):
        parts = [(function or network)(resize(some, side_px)).float() for some in squares.split(_EMBEDDED_AT_ONCE)]
    network.train(learning)
    return torch.cat(parts)


def nearest_others(vectors: Any) -> Any:
    """The 16 nearest other rows of each row by cosine: float32 [n, dim] of unit norm → int64 [n, 16]."""
    vectors = vectors.half()
    parts = [(some @ vectors.T).topk(_NEAREST + 1, 1).indices[:, 1:] for some in vectors.split(_COMPARED_AT_ONCE)]
    return torch.cat(parts)


def half_precision(values: Any) -> Any:
    """The context in which the network runs in bfloat16, if the values are on a GPU."""
    return torch.autocast(values.device.type, torch.bfloat16, enabled=values.is_cuda)
