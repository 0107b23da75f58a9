"""The number of scans of a JPEG, counted without decoding any.

Each scan of a progressive JPEG makes the decoder pass over the whole picture. Files have up to about a dozen; repeating
one of 141 bytes a few hundred times keeps a decoder busy for a minute ("Two Issues with the JPEG Standard",
libjpeg-turbo project, 2017).
"""

import re

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN, _END = 0xDA, 0xD9
# In the data of a scan, a marker is any 0xFF not followed by a stuffed 0, a restart or another 0xFF.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def count_scans(data: bytes, most: int) -> int:
    """The number of scans up to the first end marker; counting stops above `most`.

    Args:
        data: a file that starts like a JPEG.
        most: at least 0.
    """
    scans, place = 0, 2
    while scans <= most:
        found = _MARKER.search(data, place)
        if found is None:
            break
        marker, place = data[found.start() + 1], found.end()
        if marker == _END:
            break
        if marker in _STANDALONE:
            continue
        scans += marker == _SCAN
        # The length includes itself; a damaged one cannot move backwards.
        place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return scans
