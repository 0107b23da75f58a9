"""Chooses the members that represent a cluster in the term index, so that large clusters do not slow queries. Pure.

A cluster of a million nearly equal images would fill every shortlist near it. The index always holds its head, and the
members that add terms up to a maximum. The others are stored, served and counted, but not searched.
"""

# A member adds terms if at least this share of its terms is not in the nearest representative of its cluster.
NEW_TERMS_SHARE = 0.25


def is_representative(founded: bool, representatives: int, most: int, nearest_overlap: int, tables: int) -> bool:
    """Return whether a newly decided image becomes a representative.

    Args:
        founded: the image founded its cluster.
        representatives: number of them in its cluster so far.
        most: maximum number of representatives of a cluster.
        nearest_overlap: the largest overlap with a candidate of its cluster; 0 if none was found.
        tables: terms per image.
    """
    return founded or (representatives < most and nearest_overlap <= (1 - NEW_TERMS_SHARE) * tables)
