"""What ``keygen`` has to tell of a key pair."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeyReport:
    """A pair of minisign keys.

    Attributes:
        key_id: as minisign prints it.
        public_key: in base64; for subscribers.
        public_key_file: where it is written as minisign does.
        secret_key_file: where the secret key is; for the publisher alone.
        encrypted: whether it takes a password to sign.
    """

    key_id: str
    public_key: str
    public_key_file: str
    secret_key_file: str
    encrypted: bool

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return asdict(self)
