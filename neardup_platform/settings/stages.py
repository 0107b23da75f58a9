"""Settings of the stages of a decision: join, candidate search, scoring, the worker's loop, pictures."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from neardup_platform.settings.values import ClusteringKinds, Section, Texts


class JoinSettings(Section):
    """Pairing the two kinds of embedding by image id, in event time."""

    lateness_s: float = Field(600.0, gt=0)
    """Seconds that the watermark may advance past an unpaired embedding's arrival before the embedding expires."""
    idle_s: float = Field(5.0, gt=0)
    """Seconds without a new message after which a partition's clock advances with the wall clock."""
    max_waiting: int = Field(200_000, ge=1)
    """Unpaired embeddings kept, in memory and in the store. Beyond this, or beyond `max_waiting_mb`, the oldest is
    evicted and reported."""
    max_waiting_mb: int = Field(1_024, ge=1)
    """Memory for unpaired embeddings, in MB. One of the built-in embedders takes 3 to 5 KB."""
    newer_lsh: Texts = ()
    """Newer `lsh` model versions, oldest first, whose vectors are comparable with those of the version that the
    classifier was trained on. An embedding of a later version than the stored one causes its image to be decided
    again."""
    newer_pair: Texts = ()
    """The same for `pair` embeddings."""


class TermSettings(Section):
    """Candidate search by LSH terms (docs/adr/0007). All but `space` take effect at the next start."""

    space: Path | None = None
    """The term space file (centring, whitening, hyperplanes). Unset: the one shipped for the built-in embedder."""
    cells: Path | None = None
    """Pins the cells of the index to a file of fitted ones, for the worker and the API: the worker sorts its index by
    them at the next start. Unset: those of the last `use-cells`, which the asset `search_cells` sends
    (docs/adr/0061), or else those of the term space."""
    fit_cells_from: int = Field(262_144, ge=0)
    """Images from which on cells are fitted to the store without being asked, and again at each fourfold growth: the
    sensor `cells_sensor` requests runs of `search_cells`. 0: never; cells in use stay."""
    scan_images: int | None = Field(None, ge=1)
    """Images compared by 256 bits, in a corpus of ten million; fewer in a smaller one
    (terms/effort.py). Unset: 1,500,000, or 500,000 with fitted cells. A corpus of up to 100,000 is scanned whole, or
    of up to 25,000 with fitted cells."""
    shortlist: int | None = Field(None, ge=1, le=1_000_000)
    """The nearest of the scanned images, which `ranking` compares; also fewer in a smaller corpus. Unset: 1,536, or
    3,072 where they are compared by the whole signature."""
    ranking: Literal["cosine", "hamming", "overlap"] = "cosine"
    """What ranks candidates: the cosine of the vectors, the Hamming distance of the signatures, or the number of equal
    terms, as in the original design. For the last two, and with `min_overlap` (then never by cosine), the index holds
    whole signatures, 256 bytes an image more. It is made again when this changes (docs/adr/0057); the API needs the
    same setting."""
    threads: int = Field(2, ge=1, le=64)
    """Threads that share a micro-batch of queries."""
    max_representatives: int = Field(32, ge=1)
    """Members of one cluster that are searched, which makes the cost of a query independent of the cluster's size."""
    max_candidates: int = Field(150, ge=1, le=10_000)
    """Candidates scored per image, nearest first. The original scanned up to 2,500; beyond 150 no further true
    neighbour of a planted million is found."""
    min_overlap: int = Field(0, ge=0)
    """Equal terms that a candidate must have. Even 1 loses 1% of the true near neighbours at 100,000 images."""
    max_queries_per_s: float | None = Field(None, gt=0)
    """Queries per second, in the worker and in the API each, with a burst of one second. Unset: no limit. At the limit
    the stream waits and the API answers 429. Leaves processor time to other programs on a shared machine."""
    max_waiting_queries: int = Field(1_000, ge=1)
    """API searches that may wait, each with its picture in memory (up to `api.max_upload_bytes`); the next is answered
    503. At 100 searches per second the last of 1,000 waits ten seconds, about as long as a client waits."""


class ScoringSettings(Section):
    """The pair classifier and the thresholds of a match."""

    model: Path | None = None
    """A folder written by `neardup train`. Unset: the classifier shipped for the built-in embedders."""
    threshold: float | None = Field(None, gt=0, lt=1)
    """The calibrated probability at and above which a pair is a match. Unset: the thresholds stored with the model,
    which rise with the corpus and are higher for undistinctive pictures (docs/adr/0032). Setting this or
    `head_threshold` holds both constant."""
    head_threshold: float | None = Field(None, gt=0, lt=1)
    """The lower probability that an image must also reach against the head of the cluster, which prevents chaining.
    Unset: those stored with the model, as for `threshold`."""
    guarded_size: int = Field(8, ge=0)
    """Members from which on a cluster is guarded: an image joins it only if it agrees with `guard_share` of the members
    it is compared with (docs/adr/0028). 0: no cluster is guarded."""
    guard_share: float = Field(0.5, ge=0, le=1)
    """The share of the members compared, and at least two of them, that must reach the head threshold for an image to
    join a guarded cluster: at a half, the majority decides. 0: no cluster is guarded."""
    kinds: ClusteringKinds = ("same", "altered-copy")
    """The match kinds that cluster, `same` among them; also `same-template` and `same-scene`, if the classifier knows
    them (docs/adr/0030). A pair of another kind is recorded with its kind and a low score."""
    threads: int = Field(2, ge=1, le=64)
    """Threads that share a micro-batch of pairs; fewer than 4,096 pairs are not split."""


class WorkerSettings(Section):
    """The stream worker's loop."""

    max_batch_images: int = Field(256, ge=1, le=512)
    """Images decided and committed together, at most; a batch is whatever is available. 256 images of a backlog take
    about a tenth of a second. Up to four reads of twice as many images are in flight, and all of them must fit into the
    last two blocks of the term index, 4,096 images each."""
    poll_ms: int = Field(50, ge=1, le=5_000)
    """Milliseconds that one poll waits for input: the upper bound of the latency added when idle."""
    durability: Literal["power-cut", "process"] = "power-cut"
    """What a decision survives before it is published. `power-cut`: the store's log is synced to disk first, once for
    all commits since the last sync, which delays publishing by milliseconds. `process`: only the death of the worker;
    after a power cut, published decisions may contradict the store permanently."""
    heartbeat_s: float = Field(1.0, gt=0)
    """Seconds between heartbeats."""
    report_s: float = Field(60.0, gt=0)
    """Seconds between two judgements of the metrics by Dagster's checks."""
    shadow: bool = False
    """Read when a store is created: decisions are stored and not published, beside another pipeline that publishes,
    until the job `cut_over` (docs/tasks/hand-over.md). Of an existing store, the commands `shadow` and `cut-over`
    decide."""
    stalled_s: float = Field(60.0, gt=0)
    """Seconds without a heartbeat after which the sensor replaces the worker's run."""


class ImageSettings(Section):
    """Decoding and embedding pictures, for users who have pictures rather than embeddings."""

    max_bytes: int = Field(52_428_800, ge=1_024)
    """The largest file read, in bytes."""
    max_pixels: int = Field(100_000_000, ge=1_024)
    """The largest picture decoded, in pixels; a decompression bomb is rejected before it is decoded."""
    decoders: int = Field(2, ge=1, le=64)
    """Decoder processes, each with one thread; the API has one more for slow pictures."""
    decode_memory_mb: int = Field(1_536, ge=64, le=65_536)
    """Memory for decoding one picture, in MB. A WebP takes 25 bytes per pixel, a PNG 14, so that the largest PNG
    fits."""
    decode_cpu_s: float = Field(10.0, ge=0.1, le=3_600)
    """Processor time for decoding one picture, in seconds. Ordinary photographs take 0.05 to 0.5 s."""
    lsh_model: Path | None = None
    """Your own `lsh` model, a Keras, SavedModel or ONNX file. Unset: the built-in embedder."""
    pair_model: Path | None = None
    """Your own `pair` model. Unset: the built-in embedder."""


class LogSettings(Section):
    """The hourly logs of topics, compacted by day. They take effect at the next run."""

    compact_below_mb: float = Field(32.0, ge=0)
    """A day whose objects have fewer MB than this on average is compacted; larger ones stay as they are. 0: none is."""
    grace_h: float = Field(12.0, ge=1)
    """Hours for which the objects of a compacted day stay, as somebody may be reading them."""


class HandoverSettings(Section):
    """Handing over from another pipeline: where its output is, and what has to hold before a cut-over."""

    prefix: str = Field("handover/", min_length=1)
    """Where the other pipeline writes its Parquet files, by hour: a prefix in the bucket of `s3.bucket`, or
    `s3://bucket/prefix/` for one that the same keys can read."""
    least_images: int = Field(1_000, ge=1)
    """The least number of images that must be compared."""
    least_coverage: float = Field(0.99, ge=0, le=1)
    """The least share of the other pipeline's rows whose images are decided here."""
    least_agreement: float = Field(0.95, ge=0, le=1)
    """The least agreement of the clusters: BCubed F1 over the images that are not alone in both pipelines."""


class QualitySettings(Section):
    """What the checks of an hour expect, beyond chance (docs/adr/0051). They take effect at the next run."""

    max_p99_ms: float = Field(1_000.0, gt=0)
    """The longest that 99 of 100 images may wait from their last embedding to their decision, in milliseconds."""
    max_refused: float = Field(0.01, ge=0, le=1)
    """The largest share of images whose embeddings may be refused."""
    max_unpaired: float = Field(0.01, ge=0, le=1)
    """The largest share of images that may lack one of their embeddings."""
    max_score_psi: float = Field(0.25, gt=0)
    """How far the scores of the best match may differ from those of the 24 hours before: the population stability
    index, for which 0.25 is commonly taken for a major shift."""
    max_vector_shift: float = Field(0.1, gt=0, le=2)
    """How far the mean `lsh` vector may move from that of the 24 hours before; vectors have length 1."""
    max_spread_shift: float = Field(0.3, gt=0)
    """How far the spread of the `lsh` vectors may differ from that of the 24 hours before, as a share of their standard
    deviation."""
    max_length_change: float = Field(1.5, gt=1)
    """By which factor the mean length of the `lsh` vectors may grow or shrink."""
    max_term_change: float = Field(2.0, gt=1)
    """By which factor two images may have the same term more often."""
    max_duplicate_change: float = Field(2.0, gt=1)
    """By which factor the share of images that join a cluster may grow or shrink."""
    max_crowd: float = Field(0.5, gt=0, le=1)
    """The largest share of the images that joined in an hour that may have joined one cluster."""
    sample: int = Field(100, ge=0, le=5_000)
    """Images of an hour whose nearest neighbours are looked for exhaustively, and which are decided again by the API;
    0 turns both off."""
    min_recall: float = Field(0.95, ge=0, le=1)
    """The smallest share of matching pairs among the images of an hour that must have been found."""
    min_agreement: float = Field(0.95, ge=0, le=1)
    """The smallest share of images that must be decided the same again."""
    report_pictures: bool = True
    """Whether quality reports, which stay on S3, contain small pictures of examples. Images of labelled clusters are
    never among them."""
