"""`neardup compare`: two pictures compared directly."""

import math
from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, load_tensorflow
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

    try:
        found = compare_pictures(first, second, Settings())
    except (BadPicture, OSError) as error:
        raise SetupError(f"{first} and {second} cannot be compared: {error}") from error
    answer: dict[str, Any] = {
        "score": round(found.score, 6),
        "threshold": round(found.threshold, 6),
        "matches": found.matches,
        "kind": found.kind,
        "classifier": found.classifier,
        "first_score": round(found.first_score, 6),
        "terms": {name: round(value, 4) for name, value in found.terms.items()},
        "structure": {name: round(value, 4) for name, value in found.structure.items()},
    }
    if out is not None:
        try:
            write_overlay(found, out)
        except (OSError, ValueError) as error:
            raise SetupError(f"{out} cannot be written ({error}): name a .png or .jpg file in a folder") from error
        answer["overlay"] = str(out)
    emit(answer, as_json, _in_words)


def _in_words(answer: dict[str, Any]) -> str:
    structure = answer["structure"]
    verdict = "a match" if answer["matches"] else "no match"
    turn = [f"scale {math.exp(structure['scale']):.2f}", f"{structure['rotation']:.1f}° off axis"]
    turn += ["mirrored"] * (structure["mirrored"] > 0) + ["turned"] * (structure["turned"] > 0)
    lines = [
        f"pair score {answer['score']:.4f}: {verdict} (threshold {answer['threshold']:.4f})",
        f"kind       {answer['kind'] or 'none claimed'}",
        f"agreement  {structure['fine_correlation']:.2f} of local contrast where they overlap (1 is equal)",
        f"overlap    {structure['covered_less']:.0%} of one picture, {structure['covered_more']:.0%} of the other",
        f"placement  {', '.join(turn)}",
    ]
    if structure["blocks"] > 0:
        lines.append(
            f"texture    {structure['contradicting']:.0%} contradicts: {structure['replaced']:.0%} replaced, "
            f"{structure['added']:.0%} on one side only"
        )
    lines.append(f"first      score {answer['first_score']:.4f}, of the pictures as wholes")
    if answer["terms"]:
        largest = sorted(answer["terms"].items(), key=lambda term: -abs(term[1]))[:_TERMS_SHOWN]
        lines.append("terms      " + ", ".join(f"{name} {value:+.1f}" for name, value in largest) + ", …")
    return "\n".join(lines)
