"""Random numbers on the device, for whole batches: the only source of chance in training."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws from a generator, one for each picture of a batch.

    Attributes:
        generator: torch.Generator on the device where the numbers are needed.
    """

    generator: Any

    def uniform(self, number: int, low: float = 0.0, high: float = 1.0) -> Any:
        """float32 [number], low…high."""
        return torch.rand(number, generator=self.generator, device=self.generator.device) * (high - low) + low

    def normal(self, shape: tuple[int, ...]) -> Any:
        """float32 of `shape`, standard normal."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def integers(self, number: int, low: int, end: int) -> Any:
        """int64 [number], low…end−1."""
        return torch.randint(low, end, (number,), generator=self.generator, device=self.generator.device)

    def order(self, number: int) -> Any:
        """A permutation, int64 [number]."""
        return torch.randperm(number, generator=self.generator, device=self.generator.device)

    def chance(self, number: int, share: Any) -> Any:
        """Whether, for each, something of this probability happens: bool [number].

        Args:
            number: of draws.
            share: 0…1, a number or float32 [number].
        """
        return self.uniform(number) < share

    def rows(self, number: int, share: Any) -> Any:
        """The numbers of the rows where `chance` is true, int64 [at most `number`]."""
        return torch.nonzero(self.chance(number, share))[:, 0]

    def colours(self, number: int) -> Any:
        """float32 [number, 3, 1, 1], 0…255."""
        return self.uniform(number * 3, 0, 255).reshape(number, 3, 1, 1)
