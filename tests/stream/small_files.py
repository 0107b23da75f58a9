"""The files of a restored store, made by a small pipeline in this process instead of one of its own."""

from neardup_platform.progress import Progress
from neardup_platform.stream.next_files.make_files import FilesOrder, make_files
from neardup_platform.testing import BLOCK_IMAGES, small_index, small_index_space


class SmallFiles:
    """What the other process does, in this one."""

    def make(self, order: FilesOrder, progress: Progress) -> None:
        make_files(
            order,
            small_index_space(),
            lambda folder, source: small_index(source, folder),
            progress,
            block_images=BLOCK_IMAGES,
        )

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        """Nothing is open."""
