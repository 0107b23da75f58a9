"""Settings of a topic on a real broker, for a while."""

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from neardup_platform.testing import eventually


def set_topic(admin: KafkaAdminClient, topic: str, setting: str, value: str) -> None:
    """Set it, and wait until the broker says so: it follows a change a moment later."""
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={setting: value})])

    def found() -> str:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs={setting: None})
        return str(admin.describe_configs([asked], config_filter="all")["topic"][topic][setting]["value"])

    eventually(lambda: found() == value, found)
