"""Claims about what `neardup status` reports of reading Kafka."""

from typing import Any

from neardup_platform.cli.platform_commands import _describe_status


def answer(**figures: float) -> dict[str, Any]:
    worker = {
        "paused_by": None,
        "alive": True,
        "lag": 7.0,
        "stream_paused_by": None,
        "progress": "",
        "supervised_by": "dagster",
    }
    worker["figures"] = figures
    nothing = {"state_digest": "", "classifier_version": "", "api_problem": "", "services": {}, "urls": {}}
    return {"ready": True, "worker": worker, "images": 1, "clusters": 1, **nothing}


def test_problems_of_the_log_are_reported_and_nothing_else_is() -> None:
    wrong = {"partitions_unread": 6.0, "topics_recreated": 1.0, "messages_truncated": 10.0, "transactions_open": 2.0}
    text = _describe_status(answer(**wrong))
    for line in (
        "6 partitions are not read yet",
        "1 topics were deleted",
        "10 messages were lost",
        "2 partitions",
    ):
        assert line in text
    assert "kafka" not in _describe_status(answer(**dict.fromkeys(wrong, 0.0)))


def test_a_shadow_is_told_with_what_it_withheld() -> None:
    text = _describe_status(answer(shadow=1.0, withheld=12.0, shadow_since_ms=1_767_225_600_000.0))
    assert "shadow  since 2026-01-01 00:00 UTC, 12 decisions were not published" in text
    assert "shadow" not in _describe_status(answer(shadow=0.0, withheld=0.0))
