"""minisign key pairs: made, written, and read, as the minisign program has them."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torsync.model.errors import ConfigError, UsageError
from torsync.model.key_report import KeyReport
from torsync.model.trust import key_id

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSWORD = "TORSYNC_KEY_PASSWORD"  # noqa: S105 - the variable's name
PASSWORD_FILE = "TORSYNC_KEY_PASSWORD_FILE"  # noqa: S105 - likewise
_MAX_KEY_BYTES = 4096
_NO_KEY = "name a file that `torsync keygen` or `minisign -G` has made"


def generate_keys(path: Path, *, password: str = "", force: bool = False) -> KeyReport:
    """Make a key pair and write it: the secret key to ``path``, the public one beside it.

    The secret key is never readable by others, not even for a moment. A key that is there is not
    overwritten.

    Args:
        path: of the secret key; the public key's has ``.pub`` at its end.
        password: encrypts the secret key; empty: it is not encrypted, so that a service can sign.
        force: overwrite what is there.

    Raises:
        UsageError: one of the files is there.
        ConfigError: they cannot be written.
    """
    from minisign import KeyPair  # noqa: PLC0415 - costs start-up time

    beside = public_key_file(path)
    if not force:
        for present in (path, beside):
            if os.path.lexists(present):
                raise _present(present)
    pair = KeyPair.generate()
    public_key = pair.public_key.to_base64().decode()
    if password:
        pair.secret_key.encrypt(password)
    pair.secret_key.untrusted_comment = (
        f"minisign {'encrypted ' if password else ''}secret key {key_id(public_key)}"
    )
    public = f"untrusted comment: minisign public key {key_id(public_key)}\n{public_key}\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        with ExitStack() as unfinished:  # both or neither: half a pair is of no use, or a lost key
            secret_file = _write(path, bytes(pair.secret_key) + b"\n", 0o600, force=force)
            unfinished.callback(_remove, secret_file)
            public_file = _write(beside, public.encode(), 0o644, force=force)
            unfinished.callback(_remove, public_file)
            if force:
                os.replace(secret_file, path)
                os.replace(public_file, beside)
            unfinished.pop_all()
    except FileExistsError as error:
        raise _present(Path(error.filename)) from None
    except OSError as error:
        raise _not_written(path, error) from error
    return KeyReport(key_id(public_key), public_key, str(beside), str(path), bool(password))


def public_key_file(path: Path) -> Path:
    """Where the public key that belongs to a secret key is written."""
    return path.with_name(f"{path.name}.pub")


def load_secret_key(path: Path, environ: Mapping[str, str]) -> Any:
    """Read a secret key that can sign.

    Args:
        path: of the file; others than its owner and group may not read it.
        environ: with the password of an encrypted key, or the path of a file that holds it.

    Returns:
        A ``minisign.SecretKey``, decrypted.

    Raises:
        ConfigError: it cannot be read or is no key, others can read it, or its password is
            missing or wrong.
    """
    from minisign import Error, SecretKey  # noqa: PLC0415 - costs start-up time

    shown = f"the secret key {str(path)!r}"
    content = _read_private(path, shown)
    try:
        key = SecretKey.from_bytes(content)
        if key.is_encrypted():
            password = find_password(environ)
            if not password:
                raise ConfigError(
                    f"{shown} is encrypted, and there is no password for it",
                    hint=f"put it into the environment variable {PASSWORD}, or into a file that "
                    f"{PASSWORD_FILE} names",
                )
            key.decrypt(password)
        # What is damaged must not sign: a signature that does not fit looks like an attack.
        key.get_public_key().verify(b"", key.sign(b""))
    except Error as error:
        raise ConfigError(f"{shown} cannot be used: {error}", hint=_NO_KEY) from error
    return key


def find_password(environ: Mapping[str, str]) -> str:
    """Find the password of secret keys; empty if there is none.

    Raises:
        ConfigError: the file that holds it cannot be read, or it is not UTF-8.
    """
    path = environ.get(PASSWORD_FILE, "")
    if environ.get(PASSWORD) or not path:
        shown = f"the password in the environment variable {PASSWORD}"
        content = os.fsencode(environ.get(PASSWORD, ""))
    else:
        shown = f"the password file {path!r}"
        content = _read_private(Path(path), shown).rstrip(b"\r\n")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            f"{shown} is not UTF-8",
            hint="write it in UTF-8; a key whose password cannot be needs a new password, by "
            "`minisign -C`",
        ) from None


def _read_private(path: Path, shown: str) -> bytes:
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # in case it is a FIFO
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_KEY_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise ConfigError(
            f"{shown} cannot be read: {error.strerror or error}", hint=_NO_KEY
        ) from error
    if not 0 < len(content) <= _MAX_KEY_BYTES:
        raise ConfigError(f"{shown} is no regular file with a key in it", hint=_NO_KEY)
    # A group may read: access lists, as systemd's credentials have, look like that.
    if os.name == "posix" and status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigError(
            f"{shown} can be read or changed by others "
            f"(its mode is {stat.S_IMODE(status.st_mode):04o})",
            hint=f"run `chmod 600 {path}`; if others may have read it, make a new one",
        )
    return content


def _write(path: Path, content: bytes, mode: int, *, force: bool) -> Path:
    """Write a file that has its mode from the beginning, beside what is there if ``force``."""
    target = path.with_name(f".{path.name}.{os.getpid()}") if force else path
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        _remove(target)
        raise
    return target


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()


def _present(path: Path) -> UsageError:
    return UsageError(
        f"{str(path)!r} is there already, and would be lost",
        hint="choose another file with -o; --force overwrites it: subscribers with its public key "
        "then refuse what is signed",
    )


def _not_written(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write the key {str(path)!r}: {error.strerror or error}",
        hint="check the permissions of the folder, or choose another with -o",
    )
