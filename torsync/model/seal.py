"""The fact that a tree equals a release, as long as stat finds every file as the ledger has it.

Where a seal is there, a check need neither parse the release nor plan: it compares stat with the
ledger, and anything that differs is for the whole way round to decide.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from torsync.model.config import CleanMode
from torsync.model.selection import selected_bytes
from torsync.model.stored import are_texts, fits, load_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torsync.model.assess import Matcher
    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import LedgerRow

_MOST_BESIDE = 1000


@dataclass(frozen=True)
class Seal:
    """The ledger covers a release: every file of it is vouched for, and nothing is to be done.

    Attributes:
        body: the SHA-256 of the release's ``.torrent``, in hex.
        policy: whatever else it depends on that nothing is to be done, as text.
        release: the torrent's name.
        info_hash: in hex.
        files: how many files and links of the release are selected.
        bytes_total: of these files.
        unselected: how many are not.
        beside: paths in the ledger that the release no longer lists, and that stay.
    """

    body: str
    policy: str
    release: str
    info_hash: str
    files: int
    bytes_total: int
    beside: tuple[str, ...] = ()
    unselected: int = 0

    def dump(self) -> str:
        """As text, for the state."""
        return json.dumps(asdict(self))

    @staticmethod
    def load(text: str) -> Seal | None:
        """Read what ``dump`` wrote; None if it is something else."""
        found = load_json(text)
        if not isinstance(found, dict) or not are_texts(found.get("beside")):
            return None
        texts = [found.get(name) for name in ("body", "policy", "release", "info_hash")]
        counts = [found.get("files"), found.get("bytes_total"), found.get("unselected", 0)]
        if not are_texts(texts) or not fits(counts, int, int, int):
            return None
        try:
            return Seal(**{**found, "beside": tuple(found["beside"])})
        except TypeError:
            return None


def seal_release(
    manifest: Manifest,
    body: str,
    rows: Mapping[str, LedgerRow],
    *,
    policy: str,
    clean: CleanMode,
    keep: Matcher,
    unselected: Collection[int] = (),
) -> Seal | None:
    """Decide whether a ledger covers a release; None if a check still has something to find.

    Args:
        manifest: of the release.
        body: the digest of its ``.torrent``.
        rows: the whole ledger after a look at all of the tree.
        policy: see ``Seal``.
        clean: what is removed.
        keep: paths that never are.
        unselected: the files that are left alone. Those that torsync once put there only have to
            be as they were last seen.
    """
    wanted = manifest.by_path
    beside = []
    covered = 0
    for path, row in rows.items():
        if path in wanted:
            is_selected = wanted[path] not in unselected
            if row.is_smudged or (is_selected and not row.digest):
                return None
            covered += is_selected
        elif clean is CleanMode.OFF or keep(path):
            beside.append(path)
        else:
            return None
    if covered != len(wanted) - len(unselected) or len(beside) > _MOST_BESIDE:
        return None
    return Seal(
        body,
        policy,
        manifest.name,
        manifest.info_hash,
        covered,
        selected_bytes(manifest, unselected),
        tuple(beside),
        len(unselected),
    )
