"""Which members of a cluster are searched, so that a query costs the same however large clusters grow. Pure.

A cluster of a million nearly equal images would fill every shortlist near it. Its head is always searched, and of the
other members those that add terms, until there are enough of them; the rest are stored, served and counted.
"""

# A member adds terms when at least this share of its own is not in the nearest searched member of its cluster.
NEW_TERMS_SHARE = 0.25


def is_representative(founded: bool, representatives: int, most: int, nearest_overlap: int, tables: int) -> bool:
    """Whether a newly decided image is to be searched from now on.

    Args:
        founded: it founded its cluster.
        representatives: of its cluster so far.
        most: representatives a cluster may have.
        nearest_overlap: the largest overlap with a candidate of its cluster, 0 where none was found.
        tables: terms per image.
    """
    return founded or (representatives < most and nearest_overlap <= (1 - NEW_TERMS_SHARE) * tables)
