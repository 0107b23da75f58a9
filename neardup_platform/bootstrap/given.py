"""The decision about an image whose head is given with it: no search and no scores, the cause says so. Pure."""

from neardup_platform.records import Cause, Decision, JoinedImage


def given_decision(
    image: JoinedImage,
    head: str,
    sequence: int,
    ordinal: int,
    *,
    terms_version: str,
    command_id: str,
    decided_ms: int,
) -> Decision:
    """Return the decision that puts an image into the cluster that it was given.

    Args:
        head: the id of its cluster; its own where it founds one.
        ordinal: of the image, and so the number of images before it.
        command_id: of the load.
        decided_ms: the clock, Unix milliseconds.
    """
    return Decision(
        sequence=sequence,
        image_id=image.image_id,
        head=head,
        score=0.0,
        head_score=float(head == image.image_id),
        candidates=(),
        candidates_found=0,
        bridges=(),
        threshold=0.0,
        head_threshold=0.0,
        terms_version=terms_version,
        classifier_version="",
        event_time_ms=image.event_time_ms,
        decided_ms=decided_ms,
        cause=Cause.GIVEN,
        override_id=command_id,
        corpus_images=ordinal,
    )
