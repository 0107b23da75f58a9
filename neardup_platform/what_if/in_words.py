"""The answer of a what-if in words: the same for the command line, a run in Dagster and a promotion. Pure.

Answers are as `WhatIf.flat` returns them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from neardup_platform.counted import counted


def tried_in_words(answer: Mapping[str, Any]) -> str:
    """What was tried."""
    classifier, match = answer["classifier"], answer["match"]
    by = f"by classifier {classifier}" if classifier else "by the recorded scores"
    if match is None:
        return f"the thresholds of its table, {by}"
    return f"match threshold {match:.3f}, head threshold {answer['head']:.3f}, {by}"


def changes_in_words(answer: Mapping[str, Any]) -> str:
    """What would change, in one line."""
    return (
        f"of {counted(answer['images'], 'image')} {answer['joined']:,} would join a cluster, {answer['founded']:,} "
        f"would found their own, {answer['moved']:,} would go to another; {counted(answer['split'], 'cluster')} would "
        f"be split, {answer['merged']:,} merged"
    )


def labels_in_words(answer: Mapping[str, Any]) -> str:
    """Precision and recall on the labelled pairs."""
    shown = (
        f"{name} {'unknown' if answer[name] is None else f'{answer[name]:.3f}'}" for name in ("precision", "recall")
    )
    return f"on {counted(answer['labelled_pairs'], 'labelled pair')}: {', '.join(shown)}"


def what_if_in_words(answer: Mapping[str, Any]) -> str:
    """The whole answer."""
    lines = [
        f"{answer['first_hour']} to {answer['last_hour']}, from the {answer['source']}: {tried_in_words(answer)}",
        changes_in_words(answer),
        labels_in_words(answer),
        f"a replay of the recorded rule puts {answer['reproduced']:.2%} of the images where they are",
        "",
        f"{'match':>7}  {'head':>6}  {'join':>9}  {'found':>9}  {'another':>9}  {'split':>7}  {'merged':>7}",
    ]
    lines += [
        f"{row['match']:>7.3f}  {row['head']:>6.3f}  {row['joined']:>9,}  {row['founded']:>9,}  {row['moved']:>9,}  "
        f"{row['split']:>7,}  {row['merged']:>7,}"
        for row in answer["by_threshold"]
    ]
    lines += ["", *(_example(example) for example in answer["examples"])]
    return "\n".join([*lines, "", *answer["notes"], "nothing was changed"])


def kept_in_words(answer: Mapping[str, Any]) -> str:
    """A kept answer, for the promotion of its classifier."""
    when = datetime.fromtimestamp(answer["at_ms"] / 1_000, UTC)
    return f"what-if of {when:%Y-%m-%d %H:%M}Z ({tried_in_words(answer)}): {changes_in_words(answer)}"


def _example(example: Mapping[str, Any]) -> str:
    verb = {"joined": "would join", "founded": "would leave", "moved": "would go from"}[example["change"]]
    heads = {
        "joined": example["after"],
        "founded": example["before"],
        "moved": f"{example['before']} to {example['after']}",
    }
    text = f"{example['image_id']} {verb} {heads[example['change']]}: {example['score']:.3f} with {example['other_id']}"
    changes = {"losing": example.get("labels_before"), "gaining": example.get("labels_after")}
    return "; ".join([text, *(f"{verb} {labels}" for verb, labels in changes.items() if labels)])
