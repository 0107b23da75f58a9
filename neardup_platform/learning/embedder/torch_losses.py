"""The loss that teaches the network to tell copies from look-alikes.

That of SSCD (Pizzi et al., *A Self-Supervised Descriptor for Image Copy Detection*, 2022): InfoNCE over the batch, and
the entropy term of Sablayrolles et al. (*Spreading vectors for similarity search*, 2019), which pushes each picture
away from its nearest neighbour, so that one threshold on the cosine has the same meaning everywhere.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name


def losses(vectors: Any, temperature: float) -> tuple[Any, Any]:
    """InfoNCE and entropy loss of one batch.

    Args:
        vectors: float32 [2n, dim] of unit norm; rows i and n + i are two views of one picture.
        temperature: divides the cosines.

    Returns:
        Mean cross-entropy of picking the other view among all others, and minus the mean log Euclidean distance to the
        nearest view of another picture.
    """
    n = len(vectors) // 2
    cosines = vectors @ vectors.T
    itself = torch.eye(2 * n, device=vectors.device, dtype=torch.bool)
    other_view = torch.arange(2 * n, device=vectors.device).roll(n)
    contrast = F.cross_entropy(cosines.masked_fill(itself, -1e9) / temperature, other_view)
    nearest = cosines.masked_fill(itself | itself.roll(n, 1), -9.0).amax(1)
    distances = torch.sqrt((2 - 2 * nearest).clamp_min(0) + 1e-6)
    return contrast, -torch.log(distances).mean()
