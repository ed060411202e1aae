"""Sign releases, as the minisign program does: a file beside the ``.torrent``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from torsync.model.trust import Order, release_comment
from torsync.publish.keys import load_secret_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Signer:
    """Signs with one secret key.

    Attributes:
        public_key: that verifies it, in base64: for the ``public_keys`` of subscribers.
    """

    def __init__(self, secret_key: Any) -> None:
        """Take a ``minisign.SecretKey`` that is not encrypted."""
        self._secret_key = secret_key
        self.public_key: str = secret_key.get_public_key().to_base64().decode()

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str] = os.environ) -> Signer:
        """Read a secret key from its file.

        Args:
            path: of the file.
            environ: has the password of an encrypted key; see ``load_secret_key``.

        Raises:
            ConfigError: it cannot be used.
        """
        return cls(load_secret_key(path, environ))

    def sign(self, body: bytes, *, file_name: str, number: int, time_s: float) -> bytes:
        """Sign a release.

        Subscribers compare ``time_s`` first, then ``number``: neither may be less than in the
        release before, or they take it for an attack.

        Args:
            body: the whole ``.torrent``.
            file_name: of the ``.torrent``, for people; without its folder.
            number: of the release.
            time_s: when it is signed, in Unix seconds.

        Returns:
            The content of the ``.minisig`` file: a prehashed signature.
        """
        comment = release_comment(Order(int(time_s), number), file_name)
        return bytes(self._secret_key.sign(body, trusted_comment=comment)) + b"\n"

    def has_signed(self, body: bytes, signature: bytes | None) -> bool:
        """Whether a ``.minisig`` file is this key's signature of a ``.torrent``, and whole."""
        from minisign import ParseError, Signature, VerifyError  # noqa: PLC0415 - costs start-up time

        try:
            parsed = Signature.from_bytes(signature or b"")
            self._secret_key.get_public_key().verify(body, parsed)
        except (ParseError, VerifyError):
            return False
        return True
