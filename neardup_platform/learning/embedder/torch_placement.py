"""Where a picture lies in its altered view: turned, mirrored, cropped, framed, on a page, padded.

Each view is one affine map from its square to the square of the picture, so that all of it costs one sampling. Both
squares have coordinates −1…1; aspect ratios are kept as numbers.
"""

from dataclasses import dataclass
from math import pi
from typing import Any

import torch

from neardup_platform.learning.embedder.torch_draws import Draws


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the pictures of a batch lie in their views.

    Attributes:
        maps: float32 [n, 2, 3], from a place in the view to one in the picture.
        on_page: bool [n], whether the picture lies on a page, as in a screenshot.
    """

    maps: Any
    on_page: Any


def place(aspects: Any, strength: Any, draws: Draws) -> Placement:
    """Choose how pictures lie in their views.

    Args:
        aspects: float32 [n], width divided by height.
        strength: float32 [n], 0…1, the higher the more is altered.
        draws: source of every random choice.
    """
    turned, canvas = _turn(aspects, strength, draws)
    zoomed, on_page = _zoom_out(strength, draws)
    maps = turned @ _mirror(strength, draws) @ _crop(canvas, strength, draws) @ zoomed
    return Placement(maps[:, :2], on_page)


def scaling(x_scale: Any, y_scale: Any, x_shift: Any, y_shift: Any) -> Any:
    """Maps that scale and then shift, float32 [n, 3, 3], from float32 [n] each."""
    maps = torch.eye(3, device=x_scale.device).repeat(len(x_scale), 1, 1)
    maps[:, 0, 0], maps[:, 1, 1], maps[:, 0, 2], maps[:, 1, 2] = x_scale, y_scale, x_shift, y_shift
    return maps


def _turn(aspects: Any, strength: Any, draws: Draws) -> tuple[Any, Any]:
    """Quarter turns and small ones; also the aspect ratios of the canvases.

    The canvas bounds the turned picture, or, half the time, has the shape of the picture, whose corners are cut off.
    """
    n = len(aspects)
    quarter = torch.where(draws.chance(n, 0.06 * strength + 0.01), draws.integers(n, 1, 4), 0)
    slight = torch.where(draws.chance(n, 0.15), draws.uniform(n, -3.5, 3.5), 0.0)
    degrees = quarter * 90 + torch.where(draws.chance(n, 0.14 * strength), draws.uniform(n, -20, 20), slight)
    cos, sin = torch.cos(degrees * pi / 180), torch.sin(degrees * pi / 180)
    width, height = aspects.sqrt(), 1 / aspects.sqrt()
    cut = draws.chance(n, 0.5) & (quarter % 2 == 0)
    canvas_width = torch.where(cut, width, width * cos.abs() + height * sin.abs())
    canvas_height = torch.where(cut, height, width * sin.abs() + height * cos.abs())
    maps = torch.eye(3, device=aspects.device).repeat(n, 1, 1)
    maps[:, 0, 0], maps[:, 0, 1] = cos * canvas_width / width, -sin * canvas_height / width
    maps[:, 1, 0], maps[:, 1, 1] = sin * canvas_width / height, cos * canvas_height / height
    return maps, canvas_width / canvas_height


def _mirror(strength: Any, draws: Draws) -> Any:
    n = len(strength)
    x_scale = torch.where(draws.chance(n, 0.2 * strength + 0.05), -1.0, 1.0)
    y_scale = torch.where(draws.chance(n, 0.04 * strength), -1.0, 1.0)
    return scaling(x_scale, y_scale, torch.zeros_like(x_scale), torch.zeros_like(x_scale))


def _crop(canvas: Any, strength: Any, draws: Draws) -> Any:
    """A mild or strong cut anywhere, or the middle in another aspect ratio, often a square."""
    n = len(canvas)
    least = torch.where(draws.chance(n, strength * 0.8), 0.4, 0.82)
    cut_width, cut_height = (least + draws.uniform(n) * (1 - least) for _ in range(2))
    ratio = torch.where(draws.chance(n, 0.5), 1.0, draws.uniform(n, 0.6, 2.2))
    cut = draws.chance(n, 0.25 + 0.35 * strength)
    middle = ~cut & draws.chance(n, 0.2)
    width = torch.where(cut, cut_width, torch.where(middle, (ratio / canvas).clamp(0.35, 1), 1.0))
    height = torch.where(cut, cut_height, torch.where(middle, (canvas / ratio).clamp(0.35, 1), 1.0))
    x_shift, y_shift = (draws.uniform(n, -1, 1) * (1 - side) * cut for side in (width, height))
    return scaling(width, height, x_shift, y_shift)


def _zoom_out(strength: Any, draws: Draws) -> tuple[Any, Any]:
    """A frame, a page around the picture, or padding of two sides; also which of them have a page."""
    n = len(strength)
    choice = draws.uniform(n)
    framed = choice < 0.06 + 0.08 * strength
    on_page = (choice > 0.6) & (choice < 0.6 + 0.08 * strength)
    padded = (choice > 0.8) & (choice < 0.8 + 0.07 * strength)
    frame = 1 / (1 - 2 * draws.uniform(n, 0.02, 0.08))
    sideways = draws.chance(n, 0.5)
    width = torch.where(padded & sideways, draws.uniform(n, 1, 1.8), 1.0)
    height = torch.where(padded & ~sideways, draws.uniform(n, 1, 1.8), 1.0)
    width = torch.where(framed, frame, torch.where(on_page, 1 / draws.uniform(n, 0.7, 1), width))
    height = torch.where(framed, frame, torch.where(on_page, 1 / draws.uniform(n, 0.4, 0.85), height))
    shifted = on_page | (padded & draws.chance(n, 0.4))
    x_shift, y_shift = (draws.uniform(n, -1, 1) * (side - 1) * shifted for side in (width, height))
    return scaling(width, height, x_shift, y_shift), on_page
