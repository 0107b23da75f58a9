"""A command and what came of it, in words: the same for the command line and for a run in Dagster. Pure.

Results are the values of an accepted one, as `Answer.flat` has them.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from neardup_platform.counted import counted
from neardup_platform.wire.command_arguments import CommandArguments

_LONG = 200
_WHOLE = ("merge", "split")
# Of each kind of change; JSON and the run in Dagster have more.
_MOST_EXAMPLES = 5


def command_in_words(arguments: CommandArguments) -> str:
    """A command with its arguments, without those that have their default; long ones are shortened."""
    values = arguments.to_wire().items()
    shown = ((name, value if len(value) <= _LONG else f"{value[:_LONG]}…") for name, value in values)
    return " ".join([arguments.command, *(f"{name}={value!r}" for name, value in shown)])


def snapshot_in_words(answer: Mapping[str, Any]) -> str:
    """What a `snapshot` took."""
    return (
        f"snapshot {answer['snapshot']}: {_held(answer)}, "
        f"{answer['bytes'] / 1e6:.1f} MB, of which {answer['uploaded_bytes'] / 1e6:.1f} were uploaded"
    ) + (f"; {answer['pruned']} older ones deleted" if answer.get("pruned") else "")


def removed_in_words(answer: Mapping[str, Any]) -> str:
    """Which snapshots were deleted, or would be."""
    done = "would be deleted" if answer["dry_run"] else "deleted"
    files = f"{counted(answer['files'], 'file')} of {answer['bytes'] / 1e6:.1f} MB"
    lines = [f"{counted(len(answer['snapshots']), 'snapshot')} and {files} {done}, {len(answer['kept'])} kept"]
    lines += [f"  {snapshot}" for snapshot in answer["snapshots"]]
    if answer["problem"]:
        lines.append(f"no file {done}: {answer['problem']}")
    return "\n".join(lines)


def restore_in_words(answer: Mapping[str, Any]) -> str:
    """What a `restore` replaced."""
    restored = _held(answer)
    lines = [
        f"{restored}, in place of {counted(answer['replaced_images'], 'image')}; later embeddings are decided again"
    ]
    if answer["overrides_kept"]:
        unmet = answer["overrides_unmet"]
        lines.append(
            f"overrides that stay active: {answer['overrides_kept']}, of them not met by the restored images: {unmet}"
        )
    if answer["embeddings_lost"]:
        lines.append(f"lost, because Kafka no longer has them: {counted(answer['embeddings_lost'], 'later embedding')}")
    if answer.get("published_again") or answer.get("published_gone"):
        lines.append(
            f"published again: {counted(answer['published_again'], 'image')} in another cluster, and as unknown until "
            f"they are decided again: {answer['published_gone']}"
        )
    return "\n".join([*lines, "`neardup rollback --undo` reverts it"])


def rollback_plan_in_words(plan: Mapping[str, Any]) -> str:
    """What a rollback, or its undo, would replace by what."""
    present = "the present store (the API does not answer)"
    if plan["present_images"] is not None:
        present = f"{counted(plan['present_images'], 'image')} in {counted(plan['present_clusters'], 'cluster')}"
    if "undo" in plan:
        origin = "of the store that the last rollback or reprocess replaced"
    else:
        taken = datetime.fromtimestamp(plan["taken_ms"] / 1_000, UTC)
        origin = f"taken {taken:%Y-%m-%d %H:%M:%SZ} by {plan['issued_by']}"
    replaced = (
        f"{_held(plan)}, {origin}, would replace {present}; later embeddings would be decided again by classifier "
        f"{plan['classifier_version']}"
    )
    lines = [replaced]
    if plan["embeddings_lost"]:
        places = ", ".join(
            f"some of {place}, whose topic was created again since" if count is None else f"{count} of {place}"
            for place, count in plan["embeddings_lost"].items()
        )
        lines.append(f"later embeddings that are no longer in Kafka would be lost: {places}; only force allows that")
    lines += _diff_in_words(plan)
    return "\n".join([*lines, "nothing was sent"])


def _diff_in_words(plan: Mapping[str, Any]) -> list[str]:
    if "not_compared" in plan:
        return [f"images, and whether topics were created again, were not compared: {plan['not_compared']}"]
    lines = [
        (
            f"{counted(plan['images_moved'], 'image')} would be in another cluster, {plan['images_unknown']} unknown "
            f"until decided again, {plan['images_returning']} known again; "
            f"{counted(plan['clusters_split'], 'cluster')} split and {plan['clusters_merged']} merged"
        )
    ]
    if plan["overrides_kept"]:
        lines.append(
            f"overrides that stay active: {plan['overrides_kept']}, of them not met by the images that would be "
            f"restored: {plan['overrides_unmet']}"
        )
    if plan["forgotten_again"]:
        lines.append(f"forgotten since, and stay forgotten: {plan['forgotten_again']} of its images")
    for kind, examples in plan.get("examples", {}).items():
        lines.append(f"{kind}:")
        lines += [f"  {_example_in_words(each)}  {each['page']}" for each in examples[:_MOST_EXAMPLES]]
    return lines


def _example_in_words(example: Mapping[str, Any]) -> str:
    if "image_id" in example:
        before, after = (example[name] or "unknown" for name in ("head_before", "head_after"))
        return f"{example['image_id']}: {before} → {after}"
    more = example["part_count"] - len(example["parts"])
    parts = ", ".join(example["parts"]) + (f" and {more} more" if more else "")
    return f"{example['head']}, {counted(example['images'], 'image')}: {parts}"


def reprocess_in_words(answer: Mapping[str, Any]) -> str:
    """What a `reprocess` changed."""
    return (
        f"{counted(answer['images'], 'image')} decided again by classifier {answer['classifier']}: {answer['changed']} "
        f"in another cluster, {_instead(answer)}; "
        "`neardup rollback --undo` reverts it"
    )


def sample_in_words(answer: Mapping[str, Any]) -> str:
    """What a `reprocess` would move, by a `redecide` of a sample that was a dry run."""
    images, of, moved = answer["images"], answer["store_images"], answer["moved"]
    sample = (
        f"{f'a sample, {images} of {of}' if images < of else f'all {of}'} images, in whole clusters, each decided with "
        f"the others where they are; searched and scored again: {answer['searched']}, by recorded scores: "
        f"{images - answer['searched']}"
    )
    lines = [sample, redecide_in_words(answer)]
    if images < of:
        about = moved * of // max(1, images)
        lines.insert(1, f"{moved / max(1, images):.1%} of the sample would move, so about {about} of all images")
    return "\n".join(lines)


def redecide_in_words(answer: Mapping[str, Any]) -> str:
    """What a `redecide` moved, or would move."""
    tried = answer["dry_run"]
    clusters = _instead(answer)
    if "undone" in answer:
        back = f"{counted(answer['moved'], 'image')} that command {answer['undone']} moved"
        if tried:
            return f"{back} would return; moved or forgotten since: {answer['skipped']}; nothing was changed"
        return f"{back} returned; moved or forgotten since, and stay: {answer['skipped']}; {clusters}"
    moved = (
        f"{answer['moved']} {'would come' if tried else 'came'} into another cluster, {answer['founded']} of them into "
        f"one of their own: {clusters}"
    )
    lines = [f"{counted(answer['images'], 'image')} decided again by classifier {answer['classifier']}: {moved}"]
    notes = {
        "unknown": "ids that are not known",
        "kept_heads": "heads that stay, because members stay that were not chosen",
        "overridden": "images that stay where overrides link them",
        "skipped": "images that were corrected meanwhile",
    }
    lines += [f"{note}: {answer[name]}" for name, note in notes.items() if answer.get(name)]
    lines += [f"  {each['image_id']}: {each['from']} → {each['to']}" for each in answer["examples"]]
    last = "nothing was changed" if tried else f"`neardup reprocess --undo {answer['command_id']}` reverts it"
    return "\n".join([*lines, last])


def override_in_words(answer: Mapping[str, Any]) -> str:
    """What an `override` moved; its removal moves nothing."""
    if answer["action"] == "remove":
        return f"removed {answer['override_id']}"
    if answer["action"] == "quarantine":
        return f"override {answer['override_id']}: the cluster of {answer['head']} is in quarantine"
    moved = int(answer["decisions"])
    done = f"{counted(moved, 'decision')} made" if moved else "nothing had to move"
    if answer["action"] in _WHOLE:
        done = f"{counted(answer['moved'], 'image')} moved, {_instead(answer)}"
    return f"override {answer['override_id']}: {answer['image_id']} is in the cluster of {answer['head']}; {done}"


def override_plan_in_words(plan: Mapping[str, Any]) -> str:
    """What overrides would move."""
    return (
        f"{counted(plan['overrides'], 'override')} of {counted(len(plan['images']), 'known image')} would be sent: "
        f"{counted(plan['moved'], 'image')} and those linked with them would move, {_instead(plan)}"
    )


def label_in_words(answer: Mapping[str, Any]) -> str:
    """What a new label applies to."""
    members = answer["members"]
    what = f"is in bank {answer['bank']}, policy {answer['policy']}, action {answer['action']}"
    where = f"its cluster, that of {answer['head']}, has {counted(answer['size'], 'image')}"
    lines = [f"label {answer['label_id']}: {answer['image_id']} {what}; {where}", *(f"  {each}" for each in members)]
    if answer["size"] > len(members):
        lines.append(f"  and {answer['size'] - len(members)} more: neardup members {answer['head']}")
    return "\n".join(lines)


def unlabel_in_words(answer: Mapping[str, Any]) -> str:
    """What was taken out of a bank."""
    return f"removed label {answer['label_id']}: {answer['image_id']} is not in bank {answer['bank']} any more"


def hashes_in_words(answer: Mapping[str, Any]) -> str:
    """What new hashes match."""
    what = f"in bank {answer['bank']}, policy {answer['policy']}, action {answer['action']}"
    lines = [
        f"{answer['hashes']} hashes are {what}, {answer['added']} of them new",
        f"{answer['matched']} stored images match, {answer['labelled']} were labelled",
        f"{answer['not_matchable']} stored images have no PDQ hash, or one of a quality below 50",
    ]
    lines += [
        f"  {each['image_id']}  in the cluster of {each['head']}, {each['distance']} bits from {each['pdq']}"
        for each in answer["matches"]
    ]
    if answer["matched"] > len(answer["matches"]):
        lines.append(f"  and {answer['matched'] - len(answer['matches'])} more: neardup bank list {answer['bank']}")
    return "\n".join(lines)


def hashes_removed_in_words(answer: Mapping[str, Any]) -> str:
    """What was taken out of a bank."""
    return (
        f"removed {answer['removed']} hashes from bank {answer['bank']}, and the labels that they gave to "
        f"{answer['labels_removed']} images"
    )


def all_hashes_in_words(answer: Mapping[str, Any]) -> str:
    """What came of a file of hashes, or would: those refused, totals of the others, and the rows left out."""
    left_out = "".join(f"; left out {count:,} rows {why}" for why, count in answer["left_out"].items())
    if answer["dry_run"]:
        return f"{counted(answer['hashes'], 'hash')} in {counted(answer['banks'], 'bank')} would be sent{left_out}"
    answers = answer["answers"]
    refused = [f"refused {each['command_id']}: {each['reason']}" for each in answers if not each["accepted"]]
    totals = {
        name: sum(each[name] for each in answers if each["accepted"])
        for name in ("hashes", "added", "matched", "labelled")
    }
    return "\n".join(
        [
            *refused,
            f"{totals['hashes']:,} of {answer['hashes']:,} hashes are in place, {totals['added']:,} of them new"
            + left_out,
            f"{totals['matched']:,} stored images match, {totals['labelled']:,} were labelled",
        ]
    )


def labels_in_words(answers: Sequence[Mapping[str, Any]]) -> str:
    """What came of many labels: those refused, and how many were not."""
    refused = [f"refused {each['command_id']}: {each['reason']}" for each in answers if not each["accepted"]]
    return "\n".join([*refused, f"{len(answers) - len(refused)} of {counted(len(answers), 'label')} are in place"])


def label_plan_in_words(plan: Mapping[str, Any]) -> str:
    """Which labels would be sent."""
    where = f"{counted(len(plan['images']), 'known image')} in {counted(plan['clusters'], 'cluster')}"
    return f"{counted(plan['labels'], 'label')} on {where} would be sent"


def forget_in_words(answer: Mapping[str, Any]) -> str:
    """What `forget` removed."""
    heir = f"; {answer['new_head']} heads its cluster now" if answer["new_head"] else ""
    return f"forgotten by command {answer['command_id']}{heir}"


def forgets_in_words(answers: Sequence[Mapping[str, Any]]) -> str:
    """What came of many images to forget: those refused, and how many were not."""
    refused = [f"refused {each['command_id']}: {each['reason']}" for each in answers if not each["accepted"]]
    return "\n".join([*refused, f"{len(answers) - len(refused)} of {counted(len(answers), 'image')} are forgotten"])


def promotion_in_words(answer: Mapping[str, Any]) -> str:
    """Which classifier `load-model` made active, with its metrics."""
    if answer["version"] == answer["replaced"]:
        return f"classifier {answer['version']} is active already"
    shown = ("command_id", "accepted", "reason", "sequence", "version", "replaced")
    metrics = [
        f"{name:>24}  {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in answer.items()
        if name not in shown
    ]
    return "\n".join([f"classifier {answer['version']} is active and replaces {answer['replaced']}", *metrics])


def replay_in_words(answer: Mapping[str, Any]) -> str:
    """What a replay of dead letters sent, or would send."""
    verb = "would be sent" if answer["dry_run"] else "sent"
    lines = [f"{counted(answer['sent'], 'original')} of {counted(answer['letters'], 'letter')} {verb}"]
    lines += [f"{count:>9}  to {topic}" for topic, count in answer["topics"].items()]
    lines += [f"{count:>9}  {reason}" for reason, count in answer["reasons"].items()]
    reasons = {
        "too_often": "replayed three times already: --force sends them",
        "unreadable": "the broker's copy is damaged: produce them again",
        "elsewhere": "from a topic that the worker does not read",
    }
    lines += [f"{count:>9}  not sent, {reasons[why]}" for why, count in answer["refused"].items() if count]
    return "\n".join(lines)


def _held(store: Mapping[str, Any]) -> str:
    return f"{counted(store['images'], 'image')} in {counted(store['clusters'], 'cluster')}"


def _instead(answer: Mapping[str, Any]) -> str:
    return f"{counted(answer['clusters'], 'cluster')} instead of {answer['clusters_before']}"
