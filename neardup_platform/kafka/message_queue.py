"""A queue of messages that knows its size in bytes. Pure."""

from collections import deque
from collections.abc import Callable

from neardup_platform.wire.codec import Message


class MessageQueue:
    """Messages in order. `size` is the number of bytes of their keys and values."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: Message) -> None:
        """Add a message at the end."""
        self._messages.append(message)
        self.size += message.size

    def take(self, most: int, max_bytes: int) -> list[Message]:
        """Remove and return at most `most` messages of `max_bytes` in total; the first one whatever its size."""
        taken: list[Message] = []
        size = 0
        while self._messages and len(taken) < most:
            size += self._messages[0].size
            if taken and size > max_bytes:
                break
            taken.append(self._messages.popleft())
            self.size -= taken[-1].size
        return taken

    def drop(self, condition: Callable[[Message], bool]) -> None:
        """Remove the messages that meet a condition."""
        kept = [message for message in self._messages if not condition(message)]
        self._messages, self.size = deque(kept), sum(message.size for message in kept)

    def beyond(self, most: int, max_bytes: int) -> bool:
        """Return whether the queue has at least `most` messages or `max_bytes`."""
        return len(self._messages) >= most or self.size >= max_bytes
