"""Which clusters labels would apply to, told before any is sent: read from the API, nothing changed."""

from collections.abc import Sequence
from typing import Any

from neardup_platform.operations.plans import heads_of
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import LabelArguments, UnlabelArguments


def plan_labels(settings: Settings, labels: Sequence[LabelArguments | UnlabelArguments]) -> dict[str, Any]:
    """Which clusters labels would apply to: `labels`, `images` with the cluster of each, and the number of `clusters`.

    Raises:
        NotFound: images have not been decided, or were forgotten.
        ServerUnavailable: the API does not answer.
    """
    heads = heads_of(settings, dict.fromkeys(each.image_id for each in labels))
    return {"dry_run": True, "labels": len(labels), "images": heads, "clusters": len(set(heads.values()))}
