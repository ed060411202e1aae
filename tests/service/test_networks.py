"""The network goes away and comes back, as another one perhaps."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync
from tests.support.netns import Machine, NoNetworkError, network
from tests.support.processes import free_port, wait_until
from tests.support.publishers import PIECE, Publishing, wait_for_release
from tests.support.running import codes, end
from tests.support.trees import assert_same_tree, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Running


def ip(machine: Machine, command: str) -> None:
    """Change something of a machine's network."""
    subprocess.run(["ip", "-n", machine.namespace, *command.split()], check=True)


class Sites:
    """A publisher and a subscriber, each on a machine of its own and run by a service."""

    def __init__(self, folder: Path, machines: list[Machine], stack: ExitStack) -> None:
        self.machines = machines
        self.publishing = stack.enter_context(Publishing(folder / "publisher"))
        feed = f"{machines[0].address}:{free_port()}"
        self.publishing.session["listen"] = [f"0.0.0.0:{self.publishing.port}"]
        self.publishing.feed.update(listen=feed, url=f"http://{feed}")
        (folder / "subscriber").mkdir()
        self.torsync = stack.enter_context(Torsync(folder / "subscriber"))
        self.torsync.session["listen"] = [f"0.0.0.0:{free_port(udp=True)}"]
        self.torsync.subscribe(url=f"http://{feed}/pack.torrent", interval="2s")

    def start(self) -> tuple[Running, Running]:
        with self.machines[0].entered():
            publisher = self.publishing.start("run")
        wait_for_release(publisher)
        with self.machines[1].entered():
            subscriber = self.torsync.start("run")
        return publisher, subscriber

    def wait_until_same(self) -> None:
        """Wait until the subscriber has what is published now."""
        published = tree_bytes(self.publishing.content())
        wait_until(
            lambda: self.torsync.tree.exists() and tree_bytes(self.torsync.tree) == published,
            "the release has arrived",
            deadline_s=60,
        )


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with ExitStack() as stack:
        try:
            machines = stack.enter_context(network(2, rate="80mbit"))
        except NoNetworkError as error:
            pytest.skip(str(error))
        yield Sites(tmp_path, machines, stack)


def test_polls_and_peers_come_back_after_the_network_did_also_under_another_address(
    sites: Sites,
) -> None:
    machine = sites.machines[1]
    sites.publishing.publish("pack", {"a": 10 * PIECE})
    publisher, subscriber = sites.start()
    sites.wait_until_same()

    ip(machine, "link set eth0 down")
    sites.publishing.publish("pack", {"b": 20 * PIECE})
    wait_until(lambda: bool(codes(subscriber)), "the failed poll is told", deadline_s=60)
    ip(machine, "link set eth0 up")
    sites.wait_until_same()

    ip(machine, f"addr del {machine.address}/24 dev eth0")
    sites.publishing.publish("pack", {"c": 20 * PIECE})
    ip(machine, "addr add 10.77.0.99/24 dev eth0")
    sites.wait_until_same()
    assert_same_tree(sites.torsync.tree, sites.publishing.content())
    end(subscriber)
    end(publisher)


def test_a_download_goes_on_after_the_network_was_away(sites: Sites) -> None:
    machine, size = sites.machines[1], 200 * PIECE
    sites.publishing.publish("pack", {"a": size})
    sites.torsync.session["download_limit"] = "1 MB/s"
    publisher, subscriber = sites.start()
    subscriber.wait_for_download(at_least=size // 8)
    ip(machine, "link set eth0 down")
    ip(machine, "link set eth0 up")
    sites.wait_until_same()
    end(subscriber)
    end(publisher)
