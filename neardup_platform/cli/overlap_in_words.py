"""Where two pictures agree, in words. Pure."""

from typing import Any


def relation_in_words(structure: dict[str, Any], a: str, b: str) -> str:
    """Returns how the extents of two pictures are related, in one sentence without a full stop.

    Args:
        structure: of an answer of the API or of `neardup compare`.
        a, b: what the pictures are called.
    """
    overlap = structure["overlap"]
    if overlap is None:
        return f"where {a} and {b} agree is not available: {structure['reason']}"
    words: dict[str, str] = {
        "equal extent": f"{a} and {b} show the same part",
        "a inside b": f"{a} lies inside {b} and shows {overlap['b_covered']:.0%} of it",
        "b inside a": f"{b} lies inside {a} and shows {overlap['a_covered']:.0%} of it",
        "overlap": f"{a} and {b} share {overlap['a_covered']:.0%} of {a} and {overlap['b_covered']:.0%} of {b}",
        "none": f"{a} and {b} agree nowhere",
    }
    return words[overlap["relation"]]
