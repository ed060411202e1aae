"""qBittorrent in a process of its own on loopback, driven through its web API.

with QBittorrent() as client:
    client.fetch(torrent, folder, peers=[("127.0.0.1", 6881)])
    client.wait_until_complete(torrent)
"""

from __future__ import annotations

from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any

import bencode2
import requests

from tests.support.processes import HOST, ServerProcess, free_port, wait_until
from tests.support.programs import require
from tests.support.seeders import SeederError
from tests.support.torrents import is_single_file, root_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COMPLETE = frozenset(["uploading", "stalledUP", "queuedUP", "forcedUP"])
_FAILED = frozenset(["error", "missingFiles"])
_REQUIRED, _PREFERRED = 1, 0


class QBittorrent(ServerProcess):
    """``qbittorrent-nox``: v1, v2 and hybrid; knows pad files and links (BEP 47).

    Attributes:
        port: where it listens for peers, TCP and uTP.
        host: its address.
    """

    def __init__(
        self,
        *,
        host: str = HOST,
        encrypted: bool = False,
        transport: str = "TCP",
        exchange: bool = False,
        deadline_s: float = 60,
    ) -> None:
        """Start it, and return once it answers requests.

        Args:
            host: the address that it uses for peers, of the loopback interface.
            encrypted: speak to peers that encrypt (MSE) only.
            transport: ``TCP``, ``UTP`` or ``Both``.
            exchange: exchange peers with others (PEX).
            deadline_s: how long the start and any one wait may take.
        """
        program = require("qbittorrent-nox")
        super().__init__()
        try:
            self.host = host
            self._deadline_s = deadline_s
            self.port = free_port(udp=True)
            self._web_port = free_port()
            session = {
                "Port": self.port,
                "Interface": "lo",
                "InterfaceName": "lo",
                "InterfaceAddress": host,
                "DHTEnabled": False,
                "LSDEnabled": False,
                "PeXEnabled": exchange,
                "Encryption": _REQUIRED if encrypted else _PREFERRED,
                "BTProtocol": transport,
                "MultiConnectionsPerIp": True,
                "AnnounceToAllTrackers": True,
                "QueueingSystemEnabled": False,
                "SSRFMitigation": False,
                "uTPRateLimited": False,
                "AnonymousModeEnabled": False,
                "DefaultSavePath": self.folder / "downloads",
            }
            preferences = {
                r"WebUI\Enabled": True,
                r"WebUI\Address": HOST,
                r"WebUI\Port": self._web_port,
                r"WebUI\LocalHostAuth": False,
                r"WebUI\UseUPnP": False,
                r"Connection\UPnP": False,
            }
            lines = ["[LegalNotice]", "Accepted=true", "[BitTorrent]"]
            lines += [f"Session\\{key}={_text(value)}" for key, value in session.items()]
            lines += ["[Preferences]"]
            lines += [f"{key}={_text(value)}" for key, value in preferences.items()]
            config = self.folder / "qBittorrent" / "config" / "qBittorrent.conf"
            config.parent.mkdir(parents=True)
            config.write_text("\n".join(lines) + "\n")
            self._web = requests.Session()
            self._web.trust_env = False
            self._start([program, f"--profile={self.folder}"])
            self._wait(self._answers, "it answers", deadline_s=deadline_s)
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of its peer listener."""
        return (self.host, self.port)

    @property
    def version(self) -> str:
        """Such as ``v4.5.2``."""
        return self._get("app/version").text

    def fetch(
        self,
        torrent: bytes,
        save_path: Path,
        *,
        peers: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Begin to fetch a torrent, or to seed what is there.

        Args:
            torrent: the ``.torrent``.
            save_path: becomes the parent of the root folder (or of the single file).
            peers: host and port of peers, besides those that trackers name.

        Raises:
            SeederError: the torrent is refused.
        """
        save_path.mkdir(parents=True, exist_ok=True)
        answer = self._web.post(
            self._url("torrents/add"),
            files={"torrents": ("given.torrent", torrent, "application/x-bittorrent")},
            data={
                "savepath": str(save_path),
                "contentLayout": "Original",
                "autoTMM": "false",
                "paused": "false",
            },
            timeout=self._deadline_s,
        )
        if answer.text != "Ok.":
            raise SeederError(f"not added: {answer.status_code} {answer.text}")
        self._wait(lambda: bool(self._info(torrent)), "it lists the torrent")
        self.connect(torrent, peers)

    def add_folder(self, torrent: bytes, folder: Path) -> None:
        """Seed a folder that has the torrent's root name, or holds the single file."""
        if not is_single_file(torrent):
            assert folder.name == root_name(torrent), folder
            folder = folder.parent
        self.fetch(torrent, folder)
        self.wait_until_complete(torrent)

    def connect(self, torrent: bytes, peers: Iterable[tuple[str, int]]) -> None:
        """Tell it of peers; an IPv6 address goes without brackets."""
        listed = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in peers]
        if listed:
            self._post("torrents/addPeers", hashes=torrent_id(torrent), peers="|".join(listed))

    def wait_until_complete(self, torrent: bytes) -> None:
        """Return once it has everything, by its own check.

        Raises:
            SeederError: it gave up, or took too long.
        """

        def is_complete() -> bool:
            found = self._info(torrent)
            if found["state"] in _FAILED:
                raise SeederError(f"it gave up: {found}")
            return found["state"] in _COMPLETE and found["amount_left"] == 0

        try:
            wait_until(is_complete, "it has everything", deadline_s=self._deadline_s)
        except TimeoutError as error:
            raise SeederError(f"{error}: {self._info(torrent)}; {self.peers(torrent)}") from None

    def progress(self, torrent: bytes) -> float:
        """Which part of it is there: 0 to 1."""
        return float(self._info(torrent)["progress"])

    def peers(self, torrent: bytes) -> dict[str, dict[str, Any]]:
        """Those that are connected: ``host:port`` → ``flags``, ``client``, and more."""
        answer = self._get("sync/torrentPeers", hash=torrent_id(torrent), rid="0").json()
        found: dict[str, dict[str, Any]] = answer.get("peers", {})
        return found

    def files(self, torrent: bytes) -> list[str]:
        """The names that it shows."""
        listed = self._get("torrents/files", hash=torrent_id(torrent)).json()
        return [one["name"] for one in listed]

    def web_seeds(self, torrent: bytes) -> list[str]:
        """The web seeds that it knows."""
        listed = self._get("torrents/webseeds", hash=torrent_id(torrent)).json()
        return [one["url"] for one in listed]

    def exported(self, torrent: bytes) -> bytes:
        """The ``.torrent`` as it writes it itself."""
        return self._get("torrents/export", hash=torrent_id(torrent)).content

    def uploaded(self, torrent: bytes) -> int:
        """Payload bytes sent."""
        return int(self._info(torrent)["uploaded"])

    def remove(self, torrent: bytes) -> None:
        """Forget a torrent; its files stay."""
        self._post("torrents/delete", hashes=torrent_id(torrent), deleteFiles="false")
        self._wait(lambda: not self._info(torrent), "it has forgotten the torrent")

    def _info(self, torrent: bytes) -> dict[str, Any]:
        found = self._get("torrents/info", hashes=torrent_id(torrent)).json()
        return found[0] if found else {}

    def _answers(self) -> bool:
        try:
            return self.version.startswith("v")
        except (OSError, requests.RequestException):
            return False

    def _get(self, path: str, **query: str) -> requests.Response:
        answer = self._web.get(self._url(path), params=query, timeout=self._deadline_s)
        answer.raise_for_status()
        return answer

    def _post(self, path: str, **fields: str) -> None:
        self._web.post(self._url(path), data=fields, timeout=self._deadline_s).raise_for_status()

    def _url(self, path: str) -> str:
        return f"http://{HOST}:{self._web_port}/api/v2/{path}"

    def close(self) -> None:
        """End it, and forget the connections to it."""
        if hasattr(self, "_web"):
            self._web.close()
        super().close()


def torrent_id(torrent: bytes) -> str:
    """What it knows a torrent by: 40 hex digits of v2's info-hash if there is one, else of v1's."""
    info = bencode2.bdecode(torrent)[b"info"]
    raw = bencode2.bencode(info)
    is_v2 = info.get(b"meta version") == 2
    return (sha256(raw) if is_v2 else sha1(raw)).hexdigest()[:40]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
