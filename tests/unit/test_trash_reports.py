"""The reports of the ``trash`` commands as scripts see them."""

from __future__ import annotations

from torsync.model.retention import Trashed
from torsync.model.trash_reports import TrashEmptied, TrashListed, TrashRestored
from torsync.model.tree_index import Kind


def test_a_list_tells_whose_each_file_is_and_what_all_of_them_take() -> None:
    files = [
        Trashed("now", "mine", 2.5, False, Kind.FILE, 10, 0, 1, 1, 4096),
        Trashed("then-release", "a/old", 1.0, True, Kind.FILE, 20, 0, 2, 1, 8192),
        Trashed("then-release", "a/linked", 1.0, True, Kind.FILE, 20, 0, 3, 2, 8192),
    ]
    found = TrashListed("pack", files, ["locked"]).as_json()
    entries = found.pop("entries")
    assert found == {
        "name": "pack",
        "edited": 1,
        "old_release": 2,
        "bytes_total": 4096 + 8192,
        "unreadable": 1,
        "unreadable_paths": ["locked"],
    }
    assert entries[:2] == [
        {"from": "now", "trashed_s": 2.5, "path": "mine", "size": 10, "kind": "edited"},
        {
            "from": "then-release",
            "trashed_s": 1.0,
            "path": "a/old",
            "size": 20,
            "kind": "old release",
        },
    ]


def test_counts_have_their_paths_beside_them() -> None:
    restored = TrashRestored("pack", "now", ["a", "b"], ["b"], ["a"]).as_json()
    assert restored == {
        "name": "pack",
        "from": "now",
        "restored": 2,
        "restored_paths": ["a", "b"],
        "trashed": 1,
        "trashed_paths": ["b"],
        "replaced_again": 1,
        "replaced_again_paths": ["a"],
    }
    emptied = TrashEmptied("pack", removed=3, bytes_freed=4096, left=["x"]).as_json()
    assert emptied == {
        "name": "pack",
        "removed": 3,
        "bytes_freed": 4096,
        "left": 1,
        "left_paths": ["x"],
    }
