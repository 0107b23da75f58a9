"""Divides the headed rows of a data set: whole clusters that the store knows nothing of, and the rest. Pure."""

from dataclasses import dataclass

import numpy as np

from neardup_platform.bootstrap.id_order import order_by_length, order_of
from neardup_platform.bootstrap.record_kernels import Clusters, Images, Numbers, Texts
from neardup_platform.bootstrap.row_checks import Mask
from neardup_platform.bootstrap.row_fates import NONE, Fates
from neardup_platform.store.layout import RECENT_BLOCK


@dataclass(frozen=True, slots=True)
class Division:
    """Headed rows, both parts in the order of their decisions.

    Attributes:
        bulk: int64 [n], rows of clusters that are loaded at once.
        heads: int64 [n], positions in `bulk` of their heads.
        rest: int64 [m], the other rows.
    """

    bulk: Numbers
    heads: Numbers
    rest: Numbers


def divide(fates: Fates, touched: Mask) -> Division:
    """Return the division.

    Args:
        touched: bool [rows of the data set], images that the store knows, has forgotten, or has an override about.
    """
    ordered = fates.headed()
    founder = fates.founder[ordered]
    inside = founder != NONE
    apart = np.zeros(len(touched), np.bool_)
    apart[founder[inside & touched[ordered]]] = True
    whole = inside & ~apart[np.where(inside, founder, 0)]
    bulk = ordered[whole]
    place = np.full(len(touched), NONE)
    place[bulk] = np.arange(len(bulk))
    return Division(bulk, place[founder[whole]], ordered[~whole])


def by_cluster(heads: Numbers) -> Clusters:
    """The clusters of images, in the order of their heads; each has its members in their order.

    Args:
        heads: int64 [n], the row of the head of each image.
    """
    members = np.argsort(heads, kind="stable")
    founders, starts, sizes = np.unique(heads[members], return_index=True, return_counts=True)
    return Clusters(founders, members, starts, sizes)


def retired_of(clusters: Clusters, most: int) -> Mask:
    """Which images the term index need not hold: all but the first members of each cluster, bool [n]."""
    retired = np.zeros(len(clusters.members), np.bool_)
    rank = np.arange(len(clusters.members)) - np.repeat(clusters.starts, clusters.sizes)
    retired[clusters.members] = rank >= most
    return retired


@dataclass(frozen=True, slots=True)
class KeyOrders:
    """The order of the keys of each table.

    Attributes:
        images, history, members: int64 [n], rows.
        clusters: those of table CLUSTERS.
        recent: those of table RECENT.
    """

    images: Numbers
    history: Numbers
    members: Numbers
    clusters: Clusters
    recent: Clusters


def key_orders(ids: Texts, clusters: Clusters, images: Images) -> KeyOrders:
    """Return the order of the keys of each table of images.

    Args:
        clusters: of `by_cluster`.
    """
    by_bytes = order_of(ids)
    by_length = order_by_length(ids, by_bytes)
    rank = np.empty(len(by_length), np.int64)
    rank[by_length] = np.arange(len(by_length))
    members = np.argsort(rank[images.heads], kind="stable")
    place = np.full(len(by_bytes), NONE)
    place[clusters.heads] = np.arange(len(clusters.heads))
    sorted_clusters = place[by_bytes]
    named = _chosen(clusters, sorted_clusters[sorted_clusters != NONE])
    last = images.first_sequence + clusters.members[named.starts + named.sizes - 1]
    several = np.flatnonzero(named.sizes > 1)
    recent = several[np.argsort(-(last[several] // RECENT_BLOCK), kind="stable")]
    return KeyOrders(by_bytes, by_length, members, named, _chosen(named, recent))


def _chosen(clusters: Clusters, chosen: Numbers) -> Clusters:
    return Clusters(clusters.heads[chosen], clusters.members, clusters.starts[chosen], clusters.sizes[chosen])
