"""`neardup compare`: two pictures compared directly."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, load_tensorflow
from neardup_platform.cli.overlap_in_words import relation_in_words
from neardup_platform.errors import BadPicture, SetupError
from neardup_platform.settings import Settings

_TERMS_SHOWN = 6
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example:  neardup compare photo.jpg crop.jpg --out overlay.png")
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Draw where the two agree, as PNG or JPEG."
)
@json_option
def compare(first: Path, second: Path, out: Path | None, as_json: bool) -> None:
    """Compare two pictures: their pair score, and how they lie over each other.

    The classifier is the one of the settings, which may differ from one that was promoted. Terms say what each piece of
    evidence of the second look adds to the logit of the score. Needs no servers and changes nothing.
    """
    load_tensorflow()
    from neardup_platform.compare_pictures import compare_pictures, write_overlay
    from neardup_platform.serving.answers.pairs import ComparedPair

    try:
        found = compare_pictures(first, second, Settings())
    except (BadPicture, OSError) as error:
        raise SetupError(f"{first} and {second} cannot be compared: {error}") from error
    answer: dict[str, Any] = ComparedPair.of(found.pair).model_dump(mode="json") | {
        "evidence": {name: round(value, 4) for name, value in found.evidence.items()},
    }
    if out is not None:
        try:
            write_overlay(found, out)
        except (OSError, ValueError) as error:
            raise SetupError(f"{out} cannot be written ({error}): name a .png or .jpg file in a folder") from error
        answer["overlay"] = str(out)
    emit(answer, as_json, _in_words)


def _in_words(answer: dict[str, Any]) -> str:
    verdict = "a match" if answer["match"] else "no match"
    lines = [
        f"pair score {answer['score']:.4f}: {verdict} (threshold {answer['threshold']:.4f})",
        f"kind       {answer['kind'] or 'none claimed'}",
        *_structure_lines(answer["structure"], answer["evidence"]),
        f"first      score {answer['first_score']:.4f}, of the pictures as wholes",
    ]
    if answer["terms"]:
        largest = answer["terms"][:_TERMS_SHOWN]
        lines.append("terms      " + ", ".join(f"{term['name']} {term['value']:+.1f}" for term in largest) + ", …")
    if any(answer["undistinctive"]):
        which = [name for name, plain in zip(("first", "second"), answer["undistinctive"], strict=True) if plain]
        lines.append(
            f"alike      {' and '.join(which)} undistinctive, like many others: a large corpus asks for a higher score"
        )
    return "\n".join(lines)


def _structure_lines(structure: dict[str, Any], evidence: dict[str, float]) -> list[str]:
    overlap = structure["overlap"]
    relation = f"relation   {relation_in_words(structure, 'the first', 'the second')}"
    if overlap is None:
        return [relation]
    placement = [f"scale {overlap['scale']:.2f}", f"{overlap['rotation']:.1f}° off axis"]
    placement += ["mirrored"] * overlap["mirrored"] + [f"turned by {overlap['turned']}°"] * bool(overlap["turned"])
    lines = [
        relation,
        f"agreement  {overlap['agreement']:.2f} of local contrast where they overlap (1 is equal)",
        f"overlap    {overlap['a_covered']:.0%} of the first, {overlap['b_covered']:.0%} of the second",
        f"placement  {', '.join(placement)}, to lay the first over the second",
        f"differing  {overlap['differing']:.0%} of what overlaps",
    ]
    if evidence["blocks"] > 0:
        lines.append(
            f"texture    {evidence['contradicting']:.0%} contradicts: {evidence['replaced']:.0%} replaced, "
            f"{evidence['added']:.0%} on one side only"
        )
    return lines
