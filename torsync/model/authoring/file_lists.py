"""The bencoded file list (BEP 3) and file tree (BEP 52) of a layout.

They are put together as bytes at once: encoding them from dictionaries takes three times as long
with a hundred thousand files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.authoring.content import FileHashes, PublishedFile
    from torsync.model.authoring.layout import Layout


def encode_file_list(layout: Layout, hashes: Sequence[FileHashes], *, roots: bool) -> bytes:
    """Encode the value of ``files`` (BEP 3), with attributes and pad files (BEP 47).

    Args:
        layout: in v1 or hybrid format.
        hashes: of each of its files.
        roots: each file has its ``pieces root`` in its entry.
    """
    out: list[bytes] = [b"l"]
    pads = layout.pads
    last_parent, parent_names = "", b""
    for index, (file, (root, _layer, _v1)) in enumerate(zip(layout.files, hashes, strict=True)):
        if index in pads:
            out.append(_pad_file(pads[index]))
        parent, _slash, name = file.path.rpartition("/")
        if parent != last_parent:
            last_parent, parent_names = parent, _strings(parent) if parent else b""
        raw = name.encode()
        attributes, link = _attributes(file), b""
        if file.link_target is not None:
            link = b"12:symlink pathl%be" % _strings(file.link_target)
        out.append(
            b"d%b6:lengthi%de4:pathl%b%d:%be%b%be"
            % (
                attributes,
                file.size,
                parent_names,
                len(raw),
                raw,
                b"11:pieces root32:%b" % root if roots and root else b"",
                link,
            )
        )
    if len(layout.files) in pads:
        out.append(_pad_file(pads[len(layout.files)]))
    out.append(b"e")
    return b"".join(out)


def _pad_file(size: int) -> bytes:
    return b"d4:attr1:p6:lengthi%de4:pathl4:.pad%bee" % (size, _string(b"%d" % size))


def encode_file_tree(layout: Layout, hashes: Sequence[FileHashes]) -> bytes:
    """Encode the value of ``file tree`` (BEP 52), with attributes (BEP 47).

    The layout's files have the order of the tree, so each folder is opened and closed once.
    """
    out: list[bytes] = [b"d"]
    last_parent = ""
    opened: list[str] = []
    for file, (root, _layer, _v1) in zip(layout.files, hashes, strict=True):
        parent, _slash, name = file.path.rpartition("/")
        if parent != last_parent:
            out += _change_folder(opened, parent.split("/") if parent else [])
            last_parent = parent
        raw = name.encode()
        if file.link_target is None:
            leaf = b"6:lengthi%de" % file.size
        else:
            leaf = b"12:symlink pathl%be" % _strings(file.link_target)
        if root:
            leaf += b"11:pieces root32:" + root
        out.append(b"%d:%bd0:d%b%bee" % (len(raw), raw, _attributes(file), leaf))
    out += _change_folder(opened, [])
    out.append(b"e")
    return b"".join(out)


def _change_folder(opened: list[str], names: list[str]) -> list[bytes]:
    """Close folders and open others; ``opened`` becomes ``names``."""
    common = 0
    while common < min(len(opened), len(names)) and opened[common] == names[common]:
        common += 1
    out = [b"e" * (len(opened) - common)]
    out += [_string(name.encode()) + b"d" for name in names[common:]]
    opened[:] = names
    return out


def _attributes(file: PublishedFile) -> bytes:
    """The BEP 47 key ``attr``; letters in the order that libtorrent has."""
    if not (file.executable or file.hidden or file.link_target is not None):
        return b""
    is_link = file.link_target is not None
    return b"4:attr" + _string(b"h" * file.hidden + b"x" * file.executable + b"l" * is_link)


def _strings(path: str) -> bytes:
    return b"".join([_string(name) for name in path.encode().split(b"/")])


def _string(raw: bytes) -> bytes:
    return b"%d:%b" % (len(raw), raw)
