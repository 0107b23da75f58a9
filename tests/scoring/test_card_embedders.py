"""Claims about the embeddings that a classifier accepts."""

from dataclasses import replace

import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.images.active_embedders import load_embedders, model_specs
from neardup_platform.records import Kind
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import ImageSettings


def test_shipped_classifier_fits_the_built_in_embedders() -> None:
    read_card(SHIPPED_FOLDER).check_embedders(model_specs(load_embedders(ImageSettings())))


@pytest.mark.parametrize("change", [{"version": "another"}, {"dim": 7}])
@pytest.mark.parametrize("kind", list(Kind))
def test_embeddings_of_another_model_are_rejected_with_both_names(kind: Kind, change: dict[str, object]) -> None:
    card = read_card(SHIPPED_FOLDER)
    found = card.required_models | {kind: replace(card.required_models[kind], **change)}
    with pytest.raises(BadArtefact, match=f"fits {kind} embeddings of .*{next(iter(change.values()))}"):
        card.check_embedders(found)
