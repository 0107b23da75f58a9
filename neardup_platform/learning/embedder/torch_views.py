"""Altered views of a batch of pictures, made on the device: what happens to copies on the web.

Squares with their aspect ratios → **placed, covered, recoloured, shrunk, blurred, compressed views** → network. Shares
of views and ranges are those of the shipped descriptor.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name

from neardup_platform.learning.embedder.torch_draws import Draws
from neardup_platform.learning.embedder.torch_jpeg import recompress
from neardup_platform.learning.embedder.torch_overlays import (
    add_captions,
    add_shapes,
    add_stickers,
    lay_on_ground,
    sample,
)
from neardup_platform.learning.embedder.torch_placement import place

# A view that takes this much of a picture's side, or more, is sampled from the picture at half its size.
_MUCH = 1.35
# Sides of icons, each with the share of icon-sized views scaled down to it; sides of other small copies.
_ICONS = ((28, 0.375), (32, 0.6), (48, 0.525))
_SMALL_PX, _SMALL_SHARE = (56, 80, 112), 0.05
_BLUR_REACH_PX = 6
# ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)

_Alteration = Callable[[Any, Draws], Any]


def make_views(pictures: Any, aspects: Any, icons: Any, strength: Any, masks: Any, side_px: int, draws: Draws) -> Any:
    """Make one altered view of each picture.

    Args:
        pictures: uint8 [n, 3, h, w], squeezed to a square.
        aspects: float32 [n], width divided by height before that.
        icons: bool [n], whether to scale the view down to an icon and up again.
        strength: float32 [n], 0…1, the higher the more is altered.
        masks: uint8 [m, 1, 64, 256], of `caption_masks`.
        side_px: side of the views, a multiple of 8.
        draws: source of every random choice.

    Returns:
        float32 [n, 3, side_px, side_px], 0…255.
    """
    pixels = pictures.float()
    views = _place(pixels, aspects, strength, side_px, draws)
    views = add_shapes(views, strength, draws)
    add_stickers(views, pixels, strength, draws)
    add_captions(views, masks, strength, draws)
    for share, alteration in ((0.35, _change_tones), (0.1, _make_grey), (0.12, _tint)):
        _alter(views, share, alteration, draws)
    views.clamp_(0, 255)
    _alter(views, 0.1, _change_gamma, draws)
    for icon_px, share in _ICONS:
        _alter(views, share * icons, partial(_shrink, to_px=icon_px, icon=True), draws)
    for small_px in _SMALL_PX:
        _alter(views, _SMALL_SHARE, partial(_shrink, to_px=small_px, icon=False), draws)
    for share, alteration in ((0.12, _blur), (0.12, _add_noise), (0.55, _recompress)):
        _alter(views, share, alteration, draws)
    return views


def resize(pictures: Any, side_px: int) -> Any:
    """Unaltered views: uint8 [n, 3, h, w] → float32 [n, 3, side_px, side_px]."""
    return F.interpolate(
        pictures.float(), (side_px, side_px), mode="bilinear", antialias=True, align_corners=False
    ).contiguous(memory_format=torch.channels_last)


def _alter(views: Any, share: Any, alteration: _Alteration, draws: Draws) -> None:
    """Apply an alteration to a random share of the views, in place; `share` is a number or float32 [n]."""
    rows = draws.rows(len(views), share)
    if len(rows):
        views[rows] = alteration(views[rows], draws)


def _place(pixels: Any, aspects: Any, strength: Any, side_px: int, draws: Draws) -> Any:
    placement = place(aspects, strength, draws)
    views, inside = sample(pixels, placement.maps, side_px)
    much = torch.nonzero(placement.maps[:, :, :2].abs().sum(-1).amax(1) > _MUCH)[:, 0]
    if len(much):
        views[much] = sample(F.avg_pool2d(pixels[much], 2), placement.maps[much], side_px)[0]
    return lay_on_ground(views, inside, placement.on_page, pixels, draws)


def _change_tones(views: Any, draws: Draws) -> Any:
    """Change saturation, contrast and brightness."""
    mean, luma = views.mean((1, 2, 3), keepdim=True), _luma(views)
    saturation, contrast, brightness = (_factors(views, *span, draws) for span in ((0.2, 1.6), (0.6, 1.4), (0.6, 1.4)))
    return ((luma + (views - luma) * saturation - mean) * contrast + mean) * brightness


def _make_grey(views: Any, _: Draws) -> Any:
    return _luma(views).expand(-1, 3, -1, -1)


def _tint(views: Any, draws: Draws) -> Any:
    return views * draws.uniform(3 * len(views), 0.75, 1.25).reshape(-1, 3, 1, 1)


def _change_gamma(views: Any, draws: Draws) -> Any:
    return 255 * (views / 255).clamp(1e-4, 1) ** _factors(views, 0.6, 1.6, draws)


def _shrink(views: Any, _: Draws, *, to_px: int, icon: bool) -> Any:
    """Scale down and up again; icons by averaging areas."""
    options = {"mode": "area"} if icon else {"mode": "bilinear", "antialias": True, "align_corners": False}
    small = F.interpolate(views, (to_px, to_px), **options)
    return F.interpolate(small, views.shape[2:], mode="bilinear", align_corners=False)


def _blur(views: Any, draws: Draws) -> Any:
    """Gaussian, with a deviation of 0.4 to 2.6 pixels."""
    n, side_px, reach = len(views), views.shape[-1], _BLUR_REACH_PX
    offsets = torch.arange(-reach, reach + 1, device=views.device, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (offsets[None] / draws.uniform(n, 0.4, 2.6)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, 0)
    # One group for each channel of each view.
    planes = views.reshape(1, 3 * n, side_px, side_px)
    rows = F.pad(planes, (reach, reach, 0, 0), mode="replicate")
    planes = F.conv2d(rows, kernels[:, None, None, :], groups=3 * n)
    columns = F.pad(planes, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(columns, kernels[:, None, :, None], groups=3 * n).reshape(views.shape)


def _add_noise(views: Any, draws: Draws) -> Any:
    return (views + _factors(views, 2, 14, draws) * draws.normal(views.shape)).clamp(0, 255)


def _recompress(views: Any, draws: Draws) -> Any:
    return recompress(views, draws.uniform(len(views), 20, 92))


def _luma(views: Any) -> Any:
    weights = torch.tensor(_LUMA, device=views.device)[None, :, None, None]
    return (views * weights).sum(1, keepdim=True)


def _factors(views: Any, low: float, high: float, draws: Draws) -> Any:
    """float32 [n, 1, 1, 1], low…high."""
    return draws.uniform(len(views), low, high)[:, None, None, None]
