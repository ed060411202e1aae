"""Text from torrents, file names and servers, made safe to show to a person."""

from __future__ import annotations

# Joiners shape Persian and Indic words and emoji; spaces of other widths are but spaces.
_HARMLESS = frozenset("\u200c\u200d\u00a0\u1680\u202f\u205f\u3000") | {
    chr(space) for space in range(0x2000, 0x200B)
}


def printable(text: str) -> str:
    r"""Show ``text`` on one line, with what could steer a terminal escaped.

    Control characters, line breaks, bidirectional overrides, invisible and private characters
    become ``\n``, ``\x1b``, ``\u202e``; bytes of a name that is not UTF-8 become ``\xff``.
    Square brackets stay: the renderer never parses markup.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _HARMLESS else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that os.fsdecode could not decode
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
