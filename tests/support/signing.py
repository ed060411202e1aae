"""Keys and signatures: torsync's own, and those of the minisign program."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING

from minisign import KeyPair

from tests.support.programs import require
from torsync.publish.signing import Signer

if TYPE_CHECKING:
    from pathlib import Path

SIGNED_S = 1_700_000_000


def signer(name: str = "publisher") -> Signer:
    """A key of its own for every name."""
    return _signer(name)


@cache
def _signer(_name: str) -> Signer:
    return Signer(KeyPair.generate().secret_key)


def sign(body: bytes, *, by: str = "publisher", number: int = 1, time_s: float = SIGNED_S) -> bytes:
    """Sign a release as a publication does: the content of the ``.minisig`` file."""
    return signer(by).sign(body, file_name="pack.torrent", number=number, time_s=time_s)


def sign_with_comment(body: bytes, comment: str, *, by: str = "publisher") -> bytes:
    """Sign with any trusted comment."""
    return bytes(signer(by)._secret_key.sign(body, trusted_comment=comment))


class Minisign:
    """The minisign program with a key pair that takes no password.

    Attributes:
        secret_key: its file.
        public_key: in base64.
    """

    def __init__(self, folder: Path) -> None:
        self._program = require("minisign")
        folder.mkdir(parents=True)
        self.secret_key, public = folder / "minisign.key", folder / "minisign.pub"
        self.run("-G", "-W", "-p", public, "-s", self.secret_key)
        self.public_key = public.read_text().splitlines()[1]

    def sign(self, file: Path, *options: str) -> bytes:
        """Sign a file; the signature lies beside it then."""
        self.run("-S", "-m", file, "-s", self.secret_key, *options)
        return file.with_name(f"{file.name}.minisig").read_bytes()

    def run(self, *arguments: str | Path, typed: str = "") -> str:
        """Run the program and return what it prints.

        Raises:
            AssertionError: it failed.
        """
        ended = subprocess.run(
            [self._program, *map(str, arguments)],
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout
