"""What is wrong with a configuration as a whole: trees that meet, keys that are published."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.config_values import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torsync.model.config import FeedConfig, PublicationConfig, SubscriptionConfig
    from torsync.model.config_table import Key, Problems


class Owned(NamedTuple):
    """A tree, and the key of the table that it is in."""

    key: Key
    path: Path

    def __str__(self) -> str:
        return f"{self.key[0].removesuffix('s')} {show(self.key[1])}"


def check_publications(
    publications: Iterable[PublicationConfig],
    subscriptions: Mapping[str, SubscriptionConfig],
    feed: FeedConfig,
    problems: Problems,
    resolve: Callable[[str], str],
) -> None:
    """Report publications that would publish their own files, or whose torrents meet."""
    written: dict[str, str] = {}
    publications = list(publications)
    for publication, other in _releasing_each_other(publications, resolve):
        expected = "expected a file outside the folders that are published"
        found = f"found {show(str(publication.torrent))}, which is published by {show(other)}"
        advice = f"whose own .torrent leads to a release of {show(publication.name)}, and so on"
        where = ("publications", publication.name, "torrent")
        problems.add(where, f"{expected}, {found}, {advice}; move one elsewhere")
    for publication in publications:
        key = ("publications", publication.name)
        if publication.name in subscriptions:
            problems.add(key, "expected a name of its own, found that of a subscription; rename it")
        if publication.torrent is None and feed.listen is None:
            found = 'found neither; add torrent = "/srv/www/NAME.torrent", or [feed] listen'
            problems.add(key, f"expected a place for its .torrent, {found}")
        tree = PurePath(resolve(str(publication.path)))
        for name, file in (
            ("torrent", publication.torrent),
            ("secret_key", publication.secret_key),
        ):
            if file is not None and tree in PurePath(resolve(str(file))).parents:
                expected = "expected a file outside the folder that is published"
                advice = f"which is inside {show(str(publication.path))}; move it elsewhere"
                problems.add((*key, name), f"{expected}, found {show(str(file))}, {advice}")
        if publication.torrent is not None:
            target = resolve(str(publication.torrent))
            other = written.setdefault(target, publication.name)
            if other != publication.name:
                expected = "expected a file for this publication alone"
                found = f"found that of publication {show(other)}; choose another"
                problems.add((*key, "torrent"), f"{expected}, {found}")


def _releasing_each_other(
    publications: list[PublicationConfig], resolve: Callable[[str], str]
) -> Iterator[tuple[PublicationConfig, str]]:
    """Find publications whose ``.torrent`` leads, through others, to a release of their own.

    Gives each with the name of the one that publishes its ``.torrent``.
    """
    trees = {one.name: PurePath(resolve(str(one.path))) for one in publications}
    follows = {
        one.name: [
            name
            for name, tree in trees.items()
            if one.torrent is not None
            and name != one.name
            and tree in PurePath(resolve(str(one.torrent))).parents
        ]
        for one in publications
    }
    for one in publications:
        reached: set[str] = set()
        coming = list(follows[one.name])
        while coming:
            name = coming.pop()
            if name not in reached:
                reached.add(name)
                coming += follows[name]
        if one.name in reached:
            yield one, follows[one.name][0]


def check_trees(
    owners: Iterable[Owned],
    problems: Problems,
    home: str,
    resolve: Callable[[str], str],
    protected: tuple[str, ...],
) -> None:
    """Report trees in which an update or a clean could do harm outside the subscription."""

    def parts(path: str) -> Key:
        found = PurePath(resolve(path)).parts
        return ("/", *found[1:]) if found[0] == "//" else found  # POSIX keeps two slashes

    trees = {owner: parts(str(owner.path)) for owner in owners if owner.path.is_absolute()}
    own = {path: parts(path) for path in protected}
    home_parts = parts(home) if os.path.isabs(home) else ()
    first_owner = {tree: owner for owner, tree in reversed(trees.items())}
    for owner, tree in trees.items():
        harms = []
        if len(tree) == 1:
            harms.append("the root of the file system; choose a folder in it")
        elif tree == home_parts[: len(tree)]:
            harms.append(f"which is or contains the home folder {show(home)}; choose one inside")
        else:
            harms += [
                f"which contains torsync's own {show(path)}; choose another folder"
                for path, own_parts in own.items()
                if tree == own_parts[: len(tree)]
            ]
        for length in range(1, len(tree) + 1):
            other = first_owner.get(tree[:length], owner)
            if other != owner:
                relation = "the same as" if length == len(tree) else "inside"
                harms.append(
                    f"which is {relation} the tree {show(str(other.path))} of {other}; "
                    "choose another folder"
                )
        for harm in harms:
            expected = f"expected a folder for this {owner.key[0].removesuffix('s')} alone"
            problems.add((*owner.key, "path"), f"{expected}, found {show(str(owner.path))}, {harm}")
