"""Parity and cut-overs in words, for the command line and for runs. Pure."""

from collections.abc import Mapping
from typing import Any

from neardup_platform.counted import counted

_SHOWN = 20


def parity_in_words(answer: Mapping[str, Any]) -> str:
    """How far two pipelines agree, in some lines."""
    lines = [compared_in_words(answer), _clusters(answer)]
    if answer["empty_hours"]:
        lines.append(f"hours without its output: {', '.join(answer['empty_hours'][:_SHOWN])}")
    if answer["bad_rows"]:
        lines.append(f"{answer['bad_rows']:,} of {answer['rows']:,} rows are not used")
    lines += [_disagreement(each) for each in answer.get("examples", ())]
    lines.append(f"not ready to cut over: {answer['problem']}" if answer["problem"] else "ready to cut over")
    return "\n".join(lines)


def compared_in_words(answer: Mapping[str, Any]) -> str:
    """How many images are decided by both, and how far they agree, on one line."""
    first, last, agreement = answer["hours"][0], answer["hours"][-1], answer["agreement"]
    hours = first if first == last else f"{first} to {last}"
    agree = "none is in a cluster of several" if agreement is None else f"the clusters agree by {agreement:.3f}"
    return f"{counted(answer['images'], 'image')} of {hours}: {answer['coverage']:.2%} are decided here, {agree}"


def _clusters(answer: Mapping[str, Any]) -> str:
    return (
        f"clusters of the other pipeline: {answer['clusters']:,}; the same here: {answer['identical']:,}, split here: "
        f"{answer['split']:,}; clusters here that merge several of them: {answer['merged']:,}; images with another "
        f"head: {answer['other_heads']:,}"
    )


def _disagreement(each: Mapping[str, Any]) -> str:
    return (
        f"{each['kind']:>6}  {each['cluster']}, {counted(each['images'], 'image')} in {each['parts']} parts, "
        f"{counted(each['pairs'], 'pair')}: {each['one']} is in the cluster of {each['one_head']}, {each['other']} in "
        f"that of {each['other_head']}"
    )


def plan_in_words(answer: Mapping[str, Any]) -> str:
    """What a cut-over would do, in some lines."""
    if not answer["in_shadow"]:
        return f"{parity_in_words(answer)}\nthe worker is not in shadow: decisions are published, nothing would change"
    return (
        f"{parity_in_words(answer)}\n"
        f"a cut-over would publish every decision after {answer['sequence']}. The {answer['withheld']:,} that were "
        "withheld stay unpublished; publishing differences would publish those about the "
        f"{answer['other_heads']:,} images with another head. Nothing was changed"
    )


def cut_over_in_words(answer: Mapping[str, Any]) -> str:
    """What a cut-over did."""
    return (
        f"every decision after {answer['published_after']} is published; {answer['withheld']:,} were withheld before "
        f"that, and {answer['published']:,} of {answer['other_heads']:,} images with another head were published. Stop "
        "what the other pipeline publishes; `neardup cut-over --undo` goes back into shadow"
    )


def undo_in_words(answer: Mapping[str, Any]) -> str:
    """What going back into shadow did."""
    if answer["shadow"] == "before":
        return f"the worker is in shadow already, begun by {answer['by'] or 'the settings'}"
    return (
        f"no decision after {answer['published_to']} is published; those before it stay with consumers. Let the other "
        "pipeline publish again"
    )
