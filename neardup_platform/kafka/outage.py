"""Logs one line when the broker goes away and one when it answers again, instead of the client's hundreds."""

import logging

log = logging.getLogger(__name__)


class OutageNotice(logging.Handler):
    """Handles the Kafka client's error log. The client itself reconnects with back-off, forever."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._away = False

    def emit(self, record: logging.LogRecord) -> None:
        """Log the first error of an outage."""
        if "fenced" in record.getMessage():
            return  # another process took our place in the consumer group; member.py reports it
        if not self._away:
            self._away = True
            log.warning("Kafka is away, trying again with back-off: %s", record.getMessage())

    def answered(self) -> None:
        """Note that the broker has answered."""
        if self._away:
            self._away = False
            log.warning("Kafka answers again")


def watch_outages() -> OutageNotice:
    """Send the Kafka client's errors to a notice only."""
    notice = OutageNotice()
    client = logging.getLogger("kafka")
    client.handlers, client.propagate = [notice], False
    client.setLevel(logging.ERROR)
    return notice
