"""What the Kafka client raises on reading that no retry gets past, as errors that name the remedy."""

from kafka.errors import (
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)

from neardup_platform.errors import HomeInUse, NeardupError, SetupError
from neardup_platform.kafka.codecs import missing_codec
from neardup_platform.kafka.group_client import TOPICS
from neardup_platform.settings import KafkaSettings

FATAL = (
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)


def explain(error: KafkaError, settings: KafkaSettings, group: str) -> NeardupError:
    """Return the error to raise for one of `FATAL`."""
    if isinstance(error, FencedInstanceIdError):
        return HomeInUse(
            f"another worker has joined {group} for the same store, maybe from a copy of this NEARDUP_HOME: "
            "this one ends; stop one of them and delete the copy"
        )
    if isinstance(error, UnsupportedCodecError):
        return missing_codec(f"one of {', '.join(TOPICS)}", error)
    return SetupError(
        f"Kafka at {settings.bootstrap} refuses {error}: allow this user to read {', '.join(TOPICS)} "
        f"and the consumer group {group}"
    )
