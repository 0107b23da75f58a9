"""What is laid over or around a picture in its altered view: grounds, bars, shapes, stickers, captions."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name

from neardup_platform.learning.embedder.torch_draws import Draws
from neardup_platform.learning.embedder.torch_placement import scaling

# Pictures whose neighbours in the batch serve as stickers and as grounds.
_STICKER_SHIFT, _GROUND_SHIFT = 3, 7
_CAPTION_SHARES = (0.22, 0.1)


def sample(pictures: Any, maps: Any, side_px: int) -> tuple[Any, Any]:
    """Sample pictures at the places of a square view.

    Args:
        pictures: float32 [n, channels, h, w].
        maps: float32 [n, 2, 3], from a place in the view, −1…1, to one in the picture.
        side_px: side of the view.

    Returns:
        float32 [n, channels, side_px, side_px], and float32 [n, 1, side_px, side_px]: 1 inside the picture, else 0.
    """
    grid = F.affine_grid(maps, [len(maps), 1, side_px, side_px], align_corners=False)
    inside = (grid.abs() <= 1).all(-1).unsqueeze(1).float()
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False), inside


def lay_on_ground(views: Any, inside: Any, on_page: Any, pictures: Any, draws: Draws) -> Any:
    """Fill what lies outside a picture: black, white, a colour, or, on one page in ten, another picture.

    Args:
        views: float32 [n, 3, s, s].
        inside: float32 [n, 1, s, s].
        on_page: bool [n]; a page has a bar near its top as well.
        pictures: float32 [n, 3, h, w], unaltered.
        draws: source of every random choice.
    """
    n, side_px = len(views), views.shape[-1]
    choice = draws.uniform(n)
    black_or_white = draws.chance(n, 0.5).float()[:, None, None, None] * 255
    ground = torch.where(_each(choice < 0.55), black_or_white, draws.colours(n)).expand(-1, -1, side_px, side_px)
    other = F.interpolate(pictures.roll(_GROUND_SHIFT, 0), (side_px, side_px), mode="bilinear")
    ground = torch.where(_each((choice > 0.9) & on_page), other, ground)
    views = views * inside + ground * (1 - inside)
    whole = torch.ones(n, device=views.device)
    bar = _box(side_px, 0 * whole, draws.uniform(n, -1, -0.9), whole, draws.uniform(n, 0.05, 0.15))
    return _blend(views, draws.colours(n), bar * _each(on_page) * (1 - inside))


def add_shapes(views: Any, strength: Any, draws: Draws) -> Any:
    """Lay a box or an ellipse, transparent to some degree, over some views: float32 [n, 3, s, s]."""
    n, side_px = len(views), views.shape[-1]
    half_width, half_height = draws.uniform(n, 0.1, 0.4), draws.uniform(n, 0.1, 0.4)
    x, y = draws.uniform(n, -1, 1), draws.uniform(n, -1, 1)
    ellipse, box = (draw(side_px, x, y, half_width, half_height) for draw in (_ellipse, _box))
    shape = torch.where(_each(draws.chance(n, 0.5)), ellipse, box) * _each(draws.uniform(n, 0.35, 1))
    return _blend(views, draws.colours(n), shape * _each(draws.chance(n, 0.12 * strength + 0.02)))


def add_stickers(views: Any, pictures: Any, strength: Any, draws: Draws) -> None:
    """Lay another picture of the batch, small, over some views, in place: float32 [n, 3, s, s] and [n, 3, h, w]."""
    rows = draws.rows(len(views), 0.06 * strength)
    n = len(rows)
    if n:
        scale = draws.uniform(n, 2.2, 5)
        maps = scaling(scale, scale, *(draws.uniform(n, -1, 1) * scale for _ in range(2)))[:, :2]
        stickers, inside = sample(pictures.roll(_STICKER_SHIFT, 0)[rows], maps, views.shape[-1])
        views[rows] = _blend(views[rows], stickers, inside)


def add_captions(views: Any, masks: Any, strength: Any, draws: Draws) -> None:
    """Write up to two texts over some views, in place.

    Args:
        views: float32 [n, 3, s, s].
        masks: uint8 [m, 1, 64, 256], of `caption_masks`.
        strength: float32 [n].
        draws: source of every random choice.
    """
    for share in _CAPTION_SHARES:
        rows = draws.rows(len(views), share * strength + 0.03)
        if len(rows):
            views[rows] = _caption(views[rows], masks, draws)


def _caption(views: Any, masks: Any, draws: Draws) -> Any:
    n, side_px = len(views), views.shape[-1]
    x_scale, y_scale = draws.uniform(n, 1, 2.5), 1 / draws.uniform(n, 0.07, 0.2)
    shifts = (draws.uniform(n, -1, 1) * (scale - 1) for scale in (x_scale, y_scale))
    grid = F.affine_grid(scaling(x_scale, y_scale, *shifts)[:, :2], [n, 1, side_px, side_px], align_corners=False)
    chosen = masks[draws.integers(n, 0, len(masks))].float() / 255
    texts = F.grid_sample(chosen, grid, padding_mode="zeros", align_corners=False)
    choice = _each(draws.uniform(n))
    colours = torch.where(choice < 0.5, 255.0, torch.where(choice < 0.75, 0.0, draws.colours(n)))
    return _blend(views, colours, texts * _each(draws.uniform(n, 0.45, 1)))


def _box(side_px: int, x: Any, y: Any, half_width: Any, half_height: Any) -> Any:
    """float32 [n, 1, s, s], 1 inside; centre and half sides float32 [n], in −1…1."""
    across, down = _offsets(side_px, x, y)
    return ((across.abs() < _each(half_width)) & (down.abs() < _each(half_height))).float()


def _ellipse(side_px: int, x: Any, y: Any, half_width: Any, half_height: Any) -> Any:
    """float32 [n, 1, s, s], 1 inside."""
    across, down = _offsets(side_px, x, y)
    return ((across / _each(half_width)) ** 2 + (down / _each(half_height)) ** 2 < 1).float()


def _offsets(side_px: int, x: Any, y: Any) -> tuple[Any, Any]:
    places = torch.linspace(-1, 1, side_px, device=x.device)
    return places[None, None, None, :] - _each(x), places[None, None, :, None] - _each(y)


def _blend(views: Any, over: Any, opacity: Any) -> Any:
    return views * (1 - opacity) + over * opacity


def _each(values: Any) -> Any:
    """[n] → [n, 1, 1, 1]."""
    return values[:, None, None, None]
