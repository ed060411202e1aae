"""A process that cuts files for another one; see ``torsync.publish.hashing.worker``."""

from __future__ import annotations

from torsync.publish.hashing.kernel import FolderOpener
from torsync.publish.hashing.worker import ROOT_FD, work
from torsync.publish.hints.kernel import CutKernel


def main() -> None:
    """Cut until the other end closes its pipe."""
    work(CutKernel(FolderOpener(ROOT_FD)).run)
