"""Classifiers whose cards differ from the shipped one, sealed as training seals them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from neardup_platform.scoring.card import (
    EVIDENCE_FILE,
    NETWORK_FILE,
    PICTURES_FILE,
    PROBE_FILE,
    REFERENCE_FILE,
    SHIPPED_FOLDER,
    Card,
    read_card,
    write_card,
)


def variant(folder: Path, version: str, *, recall: float | None = None, **changes: Any) -> Card:
    """Writes one to a folder; `recall` replaces the measured recall at its threshold and at 99% precision."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (NETWORK_FILE, REFERENCE_FILE, PICTURES_FILE, EVIDENCE_FILE, PROBE_FILE):
        if (SHIPPED_FOLDER / name).exists():
            shutil.copy(SHIPPED_FOLDER / name, folder / name)
    card = read_card(SHIPPED_FOLDER)
    if recall is not None:
        at = {**card.metrics["at_threshold"], "recall": recall}
        changes["metrics"] = {**card.metrics, "at_threshold": at, "pair_recall_at_p99": recall}
    card = replace(card, version=version, **changes)
    write_card(card, folder)
    return card
