"""Loads the models of search by example that the settings name; importing TensorFlow takes seconds."""

from neardup_platform.errors import ServerUnavailable
from neardup_platform.images.rgb import Pixels
from neardup_platform.matching import Matching, PairScorer
from neardup_platform.serving.search_corpus import Models, Vectors
from neardup_platform.settings import Settings


def load_models(settings: Settings) -> Models:
    """Loads term space, classifier and embedders, and uses them once so that the first search is not slower.

    Raises:
        BadArtefact: a model file is missing, damaged or does not fit.
    """
    import numpy as np

    from neardup_platform.images.active_embedders import load_embedders, model_specs
    from neardup_platform.learning.classifier.keras_active_classifier import load_active_classifier
    from neardup_platform.scoring.keras_classifier import load_classifier
    from neardup_platform.scoring.tensorflow_network import limit_tensorflow_threads
    from neardup_platform.terms.index import TermIndex
    from neardup_platform.terms.opening import load_search_space, open_index

    limit_tensorflow_threads(settings.scoring.threads)
    space = load_search_space(settings)
    scorer = load_classifier(settings.scoring.model, settings.scoring.threads, settings.scoring.kinds)
    lsh, pair = load_embedders(settings.images)
    enough_px = max(lsh.enough_px, pair.enough_px)

    def embed(pixels: Pixels) -> tuple[Vectors, Vectors]:
        if model_specs((lsh, pair)) != scorer.required_models:
            raise ServerUnavailable(
                "search by picture is off: the classifier was not trained on the embedders of this server; search by "
                "vectors instead, or set images.lsh_model and images.pair_model"
            )
        return lsh.embed([pixels])[0], pair.embed([pixels])[0]

    def follow_index(source: str, known: TermIndex | None) -> TermIndex:
        # Its cells may have been exchanged.
        present = load_search_space(settings)
        return open_index(settings.index_path, present, settings.terms, source, writable=False, known=known)

    def promoted(version: str) -> tuple[PairScorer, Matching]:
        classifier = load_active_classifier(settings, version)
        return classifier, Matching.of(settings, classifier)

    grey = [np.full((enough_px, enough_px, 3), 128, np.uint8)]
    for embedder in (lsh, pair):
        embedder.embed(grey)
    return Models(
        space=space,
        scorer=scorer,
        required_models=scorer.required_models,
        matching=Matching.of(settings, scorer),
        embed=embed,
        enough_px=enough_px,
        open_index=follow_index,
        vectors_path=settings.vectors_path,
        promoted=promoted,
    )
