"""Blocks of consecutive ordinals, the units in which a term index seals and retires images. Pure."""

from dataclasses import dataclass

# Images are retired and sealed in whole blocks, so that what a query sees does not depend on batches.
BLOCK_IMAGES = 4_096


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of `size` images; block 0 starts at ordinal 0. In all methods `end` is the next image's ordinal."""

    size: int

    def room(self, end: int) -> int:
        """Returns how many images the present block still takes."""
        return self.size - end % self.size

    def present(self, end: int) -> int:
        """Returns the first ordinal of the block that holds the newest image."""
        return max(0, (end - 1) // self.size * self.size)

    def recent(self, end: int) -> int:
        """Returns the first ordinal of the window: that block, and the one before it."""
        return max(0, ((end - 1) // self.size - 1) * self.size)
