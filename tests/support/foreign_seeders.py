"""Clients by other people: transmission and aria2, in their own processes on loopback.

Like ``LibtorrentSeeder`` they are context managers, listen for peers on ``.port``, and
announce to the trackers that a torrent names, from 127.0.0.1. They cannot be told of a peer.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bencode2

from tests.support.processes import HOST, ServerProcess, free_port, wait_until
from tests.support.programs import require
from tests.support.seeders import SeederError, torrent_key
from tests.support.torrents import info_hash, info_hashes, is_single_file, root_name


def write_copy(torrent: bytes, folder: Path, scratch: Path) -> Path:
    """Copy what a torrent with v1 files lists, for clients that may harm the original.

    transmission 3.00 and aria2 know neither pad files nor links (BEP 47): they want pad files
    on disk, and follow a link to cut its target to the entry's length, which is 0.

    Args:
        torrent: v1 or hybrid.
        folder: holds the files themselves.
        scratch: where a new folder for the copy is made.

    Returns:
        The save path: it holds the root folder (or the single file).
    """
    info = bencode2.bdecode(torrent)[b"info"]
    if b"pieces" not in info:
        raise SeederError("not a v1 torrent")
    save_path = Path(tempfile.mkdtemp(dir=scratch))
    name = os.fsdecode(info[b"name"])
    if b"files" not in info:
        shutil.copyfile(folder / name, save_path / name)
        return save_path
    for entry in info[b"files"]:
        parts = [os.fsdecode(part) for part in entry[b"path"]]
        assert ".." not in parts, parts
        target = save_path.joinpath(name, *parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        attributes = entry.get(b"attr", b"")
        if b"p" in attributes or b"l" in attributes:
            target.write_bytes(bytes(entry[b"length"]))
        else:
            shutil.copyfile(folder.joinpath(*parts), target)
    return save_path


def _folder_of(torrent: bytes, save_path: Path) -> Path:
    return save_path if is_single_file(torrent) else save_path / root_name(torrent)


class TransmissionSeeder(ServerProcess):
    """transmission-daemon 3.00: v1 only, and no hybrids by libtorrent. It seeds copies.

    It unchokes peers every 10 seconds, so a download from it takes that long to begin.
    """

    def __init__(
        self,
        *,
        encrypted: bool = False,
        utp: bool = False,
        exchange: bool = False,
        deadline_s: float = 20,
    ) -> None:
        """Start it, and return once it answers requests.

        Args:
            encrypted: speak to peers that encrypt (MSE) only.
            utp: use uTP besides TCP.
            exchange: exchange peers with others (PEX).
            deadline_s: how long the start and any one request or wait may take.
        """
        program = require("transmission-daemon")
        super().__init__()
        try:
            self._deadline_s = deadline_s
            self._session_id = ""
            self._rpc_port = free_port()
            self.port = free_port(udp=True)
            settings = {
                "bind-address-ipv4": HOST,
                "bind-address-ipv6": "::1",
                "peer-port": self.port,
                "peer-port-random-on-start": False,
                "port-forwarding-enabled": False,
                "dht-enabled": False,
                "lpd-enabled": False,
                "pex-enabled": exchange,
                "utp-enabled": utp,
                "encryption": _REQUIRED if encrypted else _PREFERRED,
                "blocklist-enabled": False,
                "rpc-enabled": True,
                "rpc-bind-address": HOST,
                "rpc-port": self._rpc_port,
                "rpc-authentication-required": False,
                "rpc-whitelist-enabled": False,
                "watch-dir-enabled": False,
                "ratio-limit-enabled": False,
                "idle-seeding-limit-enabled": False,
                "speed-limit-up-enabled": False,
            }
            config = self.folder / "config"
            config.mkdir()
            (config / "settings.json").write_text(json.dumps(settings))
            self._start([program, "--foreground", "--log-error", "--config-dir", str(config)])
            self._wait(lambda: self._is_ours(config), "it answers", deadline_s=deadline_s)
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of its peer listener."""
        return (HOST, self.port)

    def add(self, torrent: bytes, save_path: Path, *, announce: bool = True) -> dict[str, str]:
        """Seed a torrent, and return when its files are verified and trackers have answered.

        Args:
            torrent: the ``.torrent``.
            save_path: the folder that holds the root folder (or the single file).
            announce: wait for the trackers' answers.

        Returns:
            Tracker URL → its error; empty where it accepted the announce.

        Raises:
            SeederError: the torrent is refused, or its files are not all there.
        """
        return self.add_folder(torrent, _folder_of(torrent, save_path), announce=announce)

    def add_folder(self, torrent: bytes, folder: Path, *, announce: bool = True) -> dict[str, str]:
        """``add`` for a folder that holds the files themselves, whatever its own name is."""
        key = self._add(torrent, write_copy(torrent, folder, self.folder), paused=True)
        # Started only when complete: it would download over what differs.
        self._request("torrent-verify", ids=[key])
        try:
            self._wait(
                lambda: self._torrent(key)["leftUntilDone"] == 0,
                "the files are verified and complete",
                deadline_s=self._deadline_s,
            )
        except RuntimeError as error:
            raise SeederError(f"not a seed: {error}") from None
        self._wait(lambda: self._torrent(key)["status"] == _STOPPED, "the check is over")
        self._request("torrent-start-now", ids=[key])
        self._wait(lambda: self._torrent(key)["status"] == _SEEDING, "it seeds")
        if announce:
            self._wait(
                lambda: all(tracker["hasAnnounced"] for tracker in self._trackers(key)),
                "every tracker has answered",
                deadline_s=self._deadline_s,
            )
        return {
            tracker["announce"]: ""
            if tracker["lastAnnounceSucceeded"]
            else tracker["lastAnnounceResult"]
            for tracker in self._trackers(key)
        }

    def fetch(self, torrent: bytes, save_path: Path) -> None:
        """Begin to fetch a torrent.

        Args:
            torrent: the ``.torrent``.
            save_path: becomes the parent of the root folder (or of the single file).

        Raises:
            SeederError: the torrent is refused.
        """
        self._add(torrent, save_path, paused=False)

    def wait_until_complete(self, torrent: bytes) -> None:
        """Return once it has everything, by its own check.

        Raises:
            RuntimeError: it took too long.
        """
        key = torrent_key(torrent)
        self._wait(
            lambda: self._torrent(key)["percentDone"] == 1,
            "it has everything",
            deadline_s=self._deadline_s,
        )

    def peers(self, torrent: bytes | str) -> list[dict[str, Any]]:
        """Those that are connected: ``address``, ``port``, ``isEncrypted``, ``isUTP`` and more."""
        found: list[dict[str, Any]] = self._torrent(torrent_key(torrent))["peers"]
        return found

    def _add(self, torrent: bytes, save_path: Path, *, paused: bool) -> str:
        added = self._request(
            "torrent-add",
            metainfo=base64.b64encode(torrent).decode(),
            paused=paused,
            **{"download-dir": str(save_path)},
        )
        if "torrent-added" not in added:
            raise SeederError(f"not added: {added}")
        key: str = added["torrent-added"]["hashString"]
        return key

    def uploaded(self, torrent: bytes | str) -> int:
        """Payload bytes sent for a torrent (its bytes or hex info-hash)."""
        return self._torrent(torrent_key(torrent))["uploadedEver"]

    def remove(self, torrent: bytes | str) -> None:
        """Stop seeding a torrent; its files stay."""
        self._request("torrent-remove", ids=[torrent_key(torrent)])

    def _trackers(self, key: str) -> list[dict[str, Any]]:
        return self._torrent(key)["trackerStats"]

    def _torrent(self, key: str) -> dict[str, Any]:
        fields = ["status", "leftUntilDone", "percentDone", "uploadedEver", "errorString"]
        fields += ["trackerStats", "peers"]
        found = self._request("torrent-get", ids=[key], fields=fields)["torrents"]
        if not found:
            raise SeederError(f"transmission has no torrent {key}")
        return found[0]

    def _is_ours(self, config: Path) -> bool:
        try:
            return self._request("session-get")["config-dir"] == str(config)
        except OSError:
            return False

    def _request(self, method: str, **arguments: Any) -> dict[str, Any]:
        body = json.dumps({"method": method, "arguments": arguments})
        while True:
            headers = {"X-Transmission-Session-Id": self._session_id}
            connection = http.client.HTTPConnection(HOST, self._rpc_port, timeout=10)
            try:
                connection.request("POST", "/transmission/rpc", body, headers)
                response = connection.getresponse()
                content = response.read()
            finally:
                connection.close()
            if response.status == http.client.CONFLICT:
                self._session_id = response.headers["X-Transmission-Session-Id"]
                continue
            answer = json.loads(content)
            if answer["result"] != "success":
                raise SeederError(f"{method}: {answer['result']}")
            return answer["arguments"]


_STOPPED, _SEEDING = 0, 6
_PREFERRED, _REQUIRED = 1, 2


class Aria2Seeder(ServerProcess):
    """aria2c 1.36: v1 only, as it gets the info-hash of hybrids wrong. It seeds copies.

    It announces to one tracker of a torrent only, and to UDP trackers only with DHT.
    """

    def __init__(
        self,
        *,
        udp_trackers: bool = False,
        encrypted: bool = False,
        exchange: bool = False,
        deadline_s: float = 20,
    ) -> None:
        """Start it, and return once it answers requests.

        Args:
            udp_trackers: announce to them; that needs DHT, which is kept on loopback.
            encrypted: speak to peers that encrypt (MSE) only.
            exchange: exchange peers with others (PEX).
            deadline_s: how long the start and any one request or wait may take.
        """
        program = require("aria2c")
        super().__init__()
        try:
            self._deadline_s = deadline_s
            self._secret = secrets.token_hex(8)
            self._rpc_port = free_port()
            self.port = free_port()
            self._added: dict[str, str] = {}
            options = {
                "no-conf": "true",
                "enable-rpc": "true",
                "rpc-listen-port": self._rpc_port,
                "rpc-secret": self._secret,
                "interface": HOST,
                "disable-ipv6": "true",
                "listen-port": self.port,
                "enable-dht": "true" if udp_trackers else "false",
                "dht-listen-port": free_port(udp=True),
                "dht-file-path": self.folder / "dht.dat",
                "enable-dht6": "false",
                "bt-enable-lpd": "false",
                "enable-peer-exchange": "true" if exchange else "false",
                "bt-force-encryption": "true" if encrypted else "false",
                "check-integrity": "true",
                "seed-ratio": "0.0",
                "file-allocation": "none",
                "max-concurrent-downloads": 100,
                "console-log-level": "warn",
                "show-console-readout": "false",
                "summary-interval": 0,
                # Should the tests be killed, it ends by itself.
                "stop-with-process": os.getpid(),
            }
            arguments = [f"--{name}={value}" for name, value in options.items()]
            self._start([program, *arguments])
            self._wait(self._answers, "it answers", deadline_s=deadline_s)
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of its peer listener."""
        return (HOST, self.port)

    def add(self, torrent: bytes, save_path: Path) -> None:
        """Seed a torrent, and return when its files are verified.

        It does not tell when it has announced: ``Tracker.wait_for_peer`` does.

        Args:
            torrent: the ``.torrent``.
            save_path: the folder that holds the root folder (or the single file).

        Raises:
            SeederError: the torrent is refused, or its files are not all there.
        """
        self.add_folder(torrent, _folder_of(torrent, save_path))

    def add_folder(self, torrent: bytes, folder: Path) -> None:
        """``add`` for a folder that holds the files themselves, whatever its own name is."""
        if len(info_hashes(torrent)) > 1:
            raise SeederError("aria2 would compute another info-hash for a hybrid")
        save_path = write_copy(torrent, folder, self.folder)
        encoded = base64.b64encode(torrent).decode()
        gid = self._call("aria2.addTorrent", encoded, [], {"dir": str(save_path)})
        try:
            wait_until(lambda: self._is_seeder(gid), "it seeds", deadline_s=self._deadline_s)
        except TimeoutError as error:
            status = self._call("aria2.tellStatus", gid)
            self._call("aria2.forceRemove", gid)
            raise SeederError(f"not a seed: {error}: {status}\n{self.log}") from None
        self._added[info_hash(torrent)] = gid

    def fetch(self, torrent: bytes, save_path: Path) -> None:
        """Begin to fetch a torrent, from its web seeds, too.

        Args:
            torrent: the ``.torrent``.
            save_path: becomes the parent of the root folder (or of the single file).

        Raises:
            SeederError: the torrent is refused.
        """
        encoded = base64.b64encode(torrent).decode()
        gid = self._call("aria2.addTorrent", encoded, [], {"dir": str(save_path)})
        self._added[info_hash(torrent)] = gid

    def wait_until_complete(self, torrent: bytes) -> None:
        """Return once it has everything, by its own check.

        Raises:
            SeederError: it gave up, or took too long.
        """
        gid = self._added[info_hash(torrent)]
        try:
            wait_until(
                lambda: self._is_seeder(gid), "it has everything", deadline_s=self._deadline_s
            )
        except TimeoutError as error:
            status = self._call("aria2.tellStatus", gid)
            raise SeederError(f"{error}: {status}\n{self.log}") from None

    def uploaded(self, torrent: bytes | str) -> int:
        """Payload bytes sent for a torrent (its bytes or hex info-hash)."""
        status = self._call("aria2.tellStatus", self._added[torrent_key(torrent)], ["uploadLength"])
        return int(status["uploadLength"])

    def remove(self, torrent: bytes | str) -> None:
        """Stop seeding a torrent; its files stay."""
        self._call("aria2.forceRemove", self._added.pop(torrent_key(torrent)))

    def known_as(self, torrent: bytes) -> str:
        """The hex info-hash that it takes a torrent for, of those that it fetches or seeds."""
        status = self._call("aria2.tellStatus", self._added[info_hash(torrent)], ["infoHash"])
        found: str = status["infoHash"]
        return found

    def _is_seeder(self, gid: str) -> bool:
        status = self._call("aria2.tellStatus", gid)
        if status["status"] == "error":
            raise SeederError(f"{status.get('errorMessage')}\n{self.log}")
        return status.get("seeder") == "true"

    def _answers(self) -> bool:
        try:
            self._call("aria2.getVersion")
        except OSError:
            return False
        return True

    def _call(self, method: str, *parameters: Any) -> Any:
        body = {
            "jsonrpc": "2.0",
            "id": "1",
            "method": method,
            "params": [f"token:{self._secret}", *parameters],
        }
        connection = http.client.HTTPConnection(HOST, self._rpc_port, timeout=10)
        try:
            connection.request("POST", "/jsonrpc", json.dumps(body))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise SeederError(f"{method}: {answer['error']['message']}")
        return answer["result"]
