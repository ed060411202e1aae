"""Two releases each of packages that people use, fetched from their registries and kept.

Wheels come from PyPI by ``pip download``, pinned by version, tags and SHA-256; the archive from
npm by ``npm pack``, pinned in the same way.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Sequence

_DAY_S = 86_400
_ANYWHERE = "py3-none-any"
_LINUX = "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"
_PIP_TAGS = {
    _ANYWHERE: (),
    _LINUX: (
        *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
        *("--platform", "manylinux2014_x86_64"),
    ),
}


class UnavailableError(Exception):
    """A package is neither in the cache nor to be had from its registry; the text says why."""


class Archive(NamedTuple):
    """One release as its registry has it."""

    version: str
    digest: str


class Package(NamedTuple):
    """What is updated.

    Attributes:
        name: in the table.
        stem: of the archives' names, before the version.
        old, new: the two releases.
        tags: of its wheels; empty for a package of npm.
    """

    name: str
    stem: str
    old: Archive
    new: Archive
    tags: str = ""

    def file_name(self, archive: Archive) -> str:
        """What the registry calls it."""
        end = f"-{self.tags}.whl" if self.tags else ".tgz"
        return f"{self.stem}-{archive.version}{end}"


PACKAGES = (
    Package(
        "django",
        "Django",
        Archive("5.1.3", "8b38a9a12da3ae00cb0ba72da985ec4b14de6345046b1e174b1fd7254398f818"),
        Archive("5.1.4", "236e023f021f5ce7dee5779de7b286565fdea5f4ab86bae5338e3f7b69896cf0"),
        _ANYWHERE,
    ),
    Package(
        "typescript",
        "typescript",
        Archive("5.6.2", "6e954963e7689a13573927021cf1fe2d7f85d7808eba49f03f84cb5d77cdd6bf"),
        Archive("5.6.3", "ef67f8d8ad895858024b7339d3e34bf112cae3c5db1f538c3079038b17ae30fa"),
    ),
    Package(
        "numpy",
        "numpy",
        Archive("2.1.2", "e2b49c3c0804e8ecb05d59af8386ec2f74877f7ca8fd9c1e00be2672e4d399b1"),
        Archive("2.1.3", "bc6f24b3d1ecc1eebfbf5d6051faa49af40b03be1aaa781ebdadcbc090b4539b"),
        _LINUX,
    ),
    Package(
        "scipy",
        "scipy",
        Archive("1.14.0", "9e3154691b9f7ed73778d746da2df67a19d046a6c8087c8b385bc4cdb2cfca74"),
        Archive("1.14.1", "fef8c87f8abfb884dac04e97824b61299880c43f4ce675dd2cbeadd3c9b466d2"),
        _LINUX,
    ),
)


def default_cache() -> Path:
    """Where archives are kept from one run to the next."""
    return platformdirs.user_cache_path("torsync-benchmarks")


def fetch_archives(package: Package, cache: Path) -> list[Path]:
    """The old and the new release's archive in the cache, put there if they are not yet.

    Raises:
        UnavailableError: one cannot be had.
    """
    return [_fetched(package, archive, cache) for archive in (package.old, package.new)]


def unpack_releases(package: Package, base: Path, cache: Path) -> tuple[Path, Path]:
    """Unpack both releases below ``base``; files that are the same in both are hard-linked.

    So unchanged files have the same times in both, as where a publisher replaces what changes,
    and rsync need not look into them.

    Raises:
        UnavailableError: an archive cannot be had.
    """
    archives = fetch_archives(package, cache)
    old, new = base / "old" / "release", base / "new" / "release"
    for archive, root in zip(archives, (old, new), strict=True):
        root.mkdir(parents=True)
        _unpack(archive, root)
    link_equal_files(old, new)
    return old, new


def link_equal_files(old: Path, new: Path) -> int:
    """Make files with the same path, mode and content one; the other old ones look a day older.

    Returns:
        Bytes of the new files whose content no old file has.
    """
    known = {_digest(Path(folder, name)) for folder, _, names in os.walk(old) for name in names}
    changed = 0
    for folder, _, names in os.walk(new):
        for name in names:
            path = Path(folder, name)
            before = old / path.relative_to(new)
            if before.exists() and _are_equal(before, path):
                path.unlink()
                os.link(before, path)
                continue
            changed += 0 if _digest(path) in known else path.stat().st_size
            if before.exists():
                earlier = path.stat().st_mtime - _DAY_S
                os.utime(before, (earlier, earlier))
    return changed


def _digest(path: Path) -> bytes:
    digest = sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1024**2):
            digest.update(block)
    return digest.digest()


def _are_equal(one: Path, other: Path) -> bool:
    same_mode = one.stat().st_mode == other.stat().st_mode
    return same_mode and filecmp.cmp(one, other, shallow=False)


def _fetched(package: Package, archive: Archive, cache: Path) -> Path:
    """The archive in the cache, put there if it is not yet."""
    path = cache / package.file_name(archive)
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        wanted = f"{package.stem}@{archive.version}"
        if package.tags:
            wanted = f"{package.stem}=={archive.version}"
            command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", str(cache), *_PIP_TAGS[package.tags]]
            _run([*command, wanted], wanted, cache)
        else:
            _run(["npm", "pack", "--silent", wanted], wanted, cache)
    if not path.exists():
        raise UnavailableError(f"the registry has no {path.name}")
    if _digest(path).hex() != archive.digest:
        raise UnavailableError(f"{path.name} is not the one that is asked for")
    return path


def _run(command: Sequence[str], what: str, folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise UnavailableError(f"{command[0]} is not installed, which fetches {what}")
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise UnavailableError(f"{what} cannot be had: {said}")


def _unpack(archive: Path, root: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(root)
        return
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            first, _, member.name = member.name.partition("/")
            if member.isfile() and member.name and first == "package":
                packed.extract(member, root)
