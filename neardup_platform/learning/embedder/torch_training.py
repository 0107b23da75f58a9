"""Training the built-in descriptor: batches with hard neighbours, AdamW, a moving average of the weights.

Pictures on the device → two altered views each → **loss** → new weights. Every layer learns; the projection starts as
whitening of the published features.
"""

from collections.abc import Callable, Iterator
from itertools import repeat
from math import cos, pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neardup_platform.errors import BadArtefact
from neardup_platform.images.keras_efficientnet_lite0 import Weights
from neardup_platform.learning.embedder.descriptor_pictures import TrainingPictures
from neardup_platform.learning.embedder.descriptor_recipe import Recipe
from neardup_platform.learning.embedder.torch_batches import (
    DevicePictures,
    choose_pictures,
    embed,
    half_precision,
    move,
    nearest_others,
    two_views,
)
from neardup_platform.learning.embedder.torch_draws import Draws
from neardup_platform.learning.embedder.torch_losses import losses
from neardup_platform.learning.embedder.torch_network import DIM, Network

_REPORT_STEPS, _MINE_STEPS = 50, 150
# The average follows the network closely at first; only then does it find better neighbours.
_AVERAGE_FROM_STEP = 300
# The first steps load and choose kernels and are not part of the time.
_UNTIMED_STEPS = 4
_WHITENED_PICTURES = 6_000
# Of the highest rate: what the cosine ends at; the rate of the projection.
_LAST_RATE, _PROJECTION_RATE = 0.01, 0.5
_BETAS = (0.9, 0.99)
_LARGEST_GRADIENT = 1.0


def train(
    pictures: TrainingPictures,
    published: Weights,
    recipe: Recipe,
    clock: Callable[[], float],
    log: Callable[[str], None],
) -> dict[str, NDArray[np.float16]]:
    """Train the descriptor on a GPU, or on the processor if there is none.

    Args:
        pictures: at least a batch of photographs and a batch of others.
        published: arrays of `efficientnet-lite0.npz`.
        recipe: time, batches, rates, seed.
        clock: seconds, read once a step.
        log: called with one line at a time.

    Returns:
        The arrays of `copy-detection.npz`: kernels and biases of the Keras layers, projection and bias.

    Raises:
        BadArtefact: an array of `published` is missing.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    draws = Draws(torch.Generator(device).manual_seed(recipe.seed))
    on_device = move(pictures, recipe.seed, device)
    network, average = (_build(published, device) for _ in range(2))
    _whiten(network, on_device.squares, recipe, draws)
    average.load_state_dict(network.state_dict())
    _descend(network, average, on_device, recipe, draws, clock, log)
    exported: dict[str, NDArray[np.float16]] = average.export()
    return exported


def _build(published: Weights, device: Any) -> Any:
    try:
        return Network(published).to(device, memory_format=torch.channels_last)
    except KeyError as error:
        raise BadArtefact(f"the published weights lack {error}: use the file that NOTICE.md describes") from error


def _whiten(network: Any, squares: Any, recipe: Recipe, draws: Draws) -> None:
    """Set the projection to centring and whitening of the features of some pictures.

    Giving the leading principal components equal variance: Jégou & Chum, *Negative Evidences and Co-occurrences in
    Image Retrieval*, 2012. Scaled to suit the step size of Adam: vectors have about unit norm before normalisation.
    """
    some = squares[draws.order(len(squares))[:_WHITENED_PICTURES]]
    features = embed(network, some, recipe.side_px, network.features).double()
    mean = features.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov((features - mean).T))
    leading = torch.arange(len(variances) - 1, len(variances) - 1 - DIM, -1, device=squares.device)
    matrix = directions[:, leading] / variances[leading].clamp_min(1e-9).sqrt()
    matrix /= ((features - mean) @ matrix).norm(dim=1).mean()
    with torch.no_grad():
        network.projection.copy_(matrix)
        network.bias.copy_(-(mean @ matrix))


def _descend(
    network: Any,
    average: Any,
    pictures: DevicePictures,
    recipe: Recipe,
    draws: Draws,
    clock: Callable[[], float],
    log: Callable[[str], None],
) -> None:
    optimizer = _optimizer(network, recipe)
    network.train()
    lost = []
    for step, share in enumerate(_shares_of_time(recipe.seconds, clock)):
        if step % _MINE_STEPS == 0:
            best = average if step > _AVERAGE_FROM_STEP else network
            nearest = nearest_others(embed(best, pictures.squares, recipe.side_px))
        _set_rate(optimizer, recipe, step, share)
        views = two_views(pictures, choose_pictures(nearest, pictures.photographs, recipe, draws), recipe, draws)
        lost.append(_learn(network, optimizer, views, recipe))
        _follow(average, network, min(recipe.average_decay, (1 + step) / (10 + step)))
        if len(lost) == _REPORT_STEPS:
            contrast, entropy = torch.stack(lost).mean(0).tolist()
            log(f"step {step + 1}, {share:.0%} of the time: InfoNCE {contrast:.4f}, entropy loss {entropy:.4f}")
            lost = []
    log(f"finished after {step + 1} steps")


def _shares_of_time(seconds: float, clock: Callable[[], float]) -> Iterator[float]:
    """The share of the time that has passed, 0…1, once a step."""
    yield from repeat(0.0, _UNTIMED_STEPS)
    start = clock()
    while (share := (clock() - start) / seconds) < 1:
        yield share


def _optimizer(network: Any, recipe: Recipe) -> Any:
    """AdamW (Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019), decaying convolution kernels only."""
    others = [(name, values) for name, values in network.named_parameters() if name != "projection"]
    groups = [
        {"params": [v for _, v in others if v.ndim > 1], "weight_decay": recipe.weight_decay, "factor": 1.0},
        {"params": [v for _, v in others if v.ndim == 1], "weight_decay": 0.0, "factor": 1.0},
        {"params": [network.projection], "weight_decay": 0.0, "factor": _PROJECTION_RATE},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=_BETAS, fused=network.projection.is_cuda)


def _set_rate(optimizer: Any, recipe: Recipe, step: int, share: float) -> None:
    warm = min(1.0, step / recipe.warm_up)
    cosine = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + cos(pi * share))
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * warm * cosine * group["factor"]


def _learn(network: Any, optimizer: Any, views: Any, recipe: Recipe) -> Any:
    """One step; the two losses, [2]."""
    with half_precision(views):
        vectors = network(views)
    contrast, entropy = losses(vectors.float(), recipe.temperature)
    optimizer.zero_grad(set_to_none=True)
    (contrast + recipe.entropy_weight * entropy).backward()
    nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return torch.stack([contrast.detach(), entropy.detach()])


def _follow(average: Any, network: Any, decay: float) -> None:
    """Move the average, batch statistics included, towards the network."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    old, new = zip(*((old, new) for old, new in pairs if old.is_floating_point()), strict=True)
    with torch.no_grad():
        torch._foreach_lerp_(list(old), list(new), 1 - decay)  # one launch for all arrays
