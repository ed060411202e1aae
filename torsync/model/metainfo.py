"""From the bytes of a ``.torrent`` to a ``Manifest``, or an error that names what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest


def parse_metainfo(data: bytes, *, windows: bool = False) -> Manifest:
    """Parse a ``.torrent``: v1 (BEP 3), v2 and hybrid (BEP 52), with BEP 47 attributes.

    Args:
        data: the whole file.
        windows: also refuse names that Windows reserves.

    Raises:
        ManifestError: the bytes are not a ``.torrent`` that can be applied safely; the
            message names the entry, what was expected and what was found.
    """
    raise ManifestError
