"""``torsync keygen`` and ``init --public-key``: from a key to a subscription that asks for it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync
from tests.support.signing import sign, signer
from torsync.model.toml_lines import parse_toml
from torsync.publish.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFO = b"d6:lengthi1e4:name%d:%b12:piece lengthi16384e6:pieces20:%be"
TORRENT = b"d4:info" + INFO % (4, b"pack", bytes(20)) + b"e"


@pytest.fixture
def torsync(tmp_path: Path) -> Iterator[Torsync]:
    with Torsync(tmp_path) as program:
        yield program


class TestKeygen:
    def test_makes_keys_that_sign_and_tells_where_they_are(
        self, tmp_path: Path, torsync: Torsync
    ) -> None:
        outcome = torsync.run("keygen", "-o", tmp_path / "new" / "maps.key").assert_ok()
        (told,) = outcome.of_type("key")
        assert told["secret_key_file"] == str(tmp_path / "new" / "maps.key")
        assert told["public_key_file"] == str(tmp_path / "new" / "maps.key.pub")
        made = Signer.load(tmp_path / "new" / "maps.key", {})
        assert made.public_key == told["public_key"]
        assert told["key_id"] in (tmp_path / "new" / "maps.key.pub").read_text()
        assert not told["encrypted"]

    def test_the_default_is_beside_the_configuration(self, torsync: Torsync) -> None:
        (told,) = torsync.run("keygen").assert_ok().of_type("key")
        assert told["secret_key_file"] == str(torsync.config_file.with_name("minisign.key"))

    def test_a_key_is_not_overwritten_unless_asked_to(
        self, tmp_path: Path, torsync: Torsync
    ) -> None:
        path = tmp_path / "k"
        torsync.run("keygen", "-o", path).assert_ok()
        before = path.read_bytes()
        outcome = torsync.run("keygen", "-o", path)
        assert (outcome.exit_code, outcome.error["code"]) == (2, "usage")
        assert path.read_bytes() == before
        torsync.run("keygen", "-o", path, "--force").assert_ok()
        assert path.read_bytes() != before
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_password_comes_from_the_environment(self, tmp_path: Path, torsync: Torsync) -> None:
        outcome = torsync.run("keygen", "-o", tmp_path / "k", "--encrypt")
        assert outcome.exit_code == 2
        assert "TORSYNC_KEY_PASSWORD" in outcome.error["hint"]
        password = {"TORSYNC_KEY_PASSWORD": "a secret"}
        outcome = torsync.run("keygen", "-o", tmp_path / "k", "--encrypt", environment=password)
        (told,) = outcome.assert_ok().of_type("key")
        assert told["encrypted"]
        assert Signer.load(tmp_path / "k", password).public_key == told["public_key"]


class TestInit:
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Of a signed release."""
        (tmp_path / "new.torrent").write_bytes(TORRENT)
        (tmp_path / "new.torrent.minisig").write_bytes(sign(TORRENT))
        return (tmp_path / "new.torrent").as_uri()

    def keys(self, torsync: Torsync) -> list[str]:
        text = torsync.config_file.read_text()
        return parse_toml(text, source="f")["subscriptions"]["pack"]["public_keys"]

    def test_keys_are_written_and_the_name_is_of_a_signed_release(
        self, tmp_path: Path, torsync: Torsync, url: str
    ) -> None:
        own, other = signer().public_key, signer("new").public_key
        pub = tmp_path / "other.pub"
        pub.write_text(f"untrusted comment: minisign public key\n{other}\n")
        keys = ("--public-key", own, "--public-key", pub, "--public-key", other)
        outcome = torsync.run("init", url, torsync.tree, *keys).assert_ok()
        assert outcome.subscription["name"] == "pack"
        assert self.keys(torsync) == [own, other]

    @pytest.mark.parametrize("hostile", [TORRENT.replace(b"pack", b"hack"), b"d" + b"l" * 50_000])
    def test_a_forged_release_is_not_asked_for_its_name(
        self, tmp_path: Path, torsync: Torsync, url: str, hostile: bytes
    ) -> None:
        (tmp_path / "new.torrent").write_bytes(hostile)
        (tmp_path / "new.torrent.minisig").write_bytes(
            sign(hostile).replace(b"timestamp", b"Timestamp")
        )
        running = torsync.start("init", url, torsync.tree, "--public-key", signer().public_key)
        told = running.wait_for(lambda one: one["type"] == "notice", "it is refused")
        assert told["code"] == "signature_awaited"
        assert "does not fit" in told["message"]
        running.stop(2, within_s=10)
        assert "subscriptions.pack" not in torsync.config_file.read_text()

    def test_a_release_without_a_date_is_refused_at_once(
        self, tmp_path: Path, torsync: Torsync, url: str
    ) -> None:
        undated = bytes(signer()._secret_key.sign(TORRENT, trusted_comment="hello"))
        (tmp_path / "new.torrent.minisig").write_bytes(undated)
        outcome = torsync.run("init", url, torsync.tree, "--public-key", signer().public_key)
        assert (outcome.exit_code, outcome.error["code"]) == (3, "untrusted")
        assert "subscriptions.pack" not in torsync.config_file.read_text()

    def test_with_a_name_nothing_is_fetched(self, torsync: Torsync) -> None:
        key = signer().public_key
        url = "https://mods.invalid/a.torrent"
        torsync.run("init", url, torsync.tree, "--name", "pack", "--public-key", key).assert_ok()
        assert self.keys(torsync) == [key]

    def test_what_is_no_public_key_is_refused_without_showing_a_secret(
        self, tmp_path: Path, torsync: Torsync, url: str
    ) -> None:
        torsync.run("keygen", "-o", tmp_path / "k").assert_ok()
        secret = (tmp_path / "k").read_text().splitlines()[1]
        (tmp_path / "empty").touch()
        for given in (
            tmp_path / "k",
            secret,
            "RWnonsense",
            tmp_path / "absent",
            tmp_path / "empty",
        ):
            outcome = torsync.run("init", url, torsync.tree, "--public-key", given)
            assert (outcome.exit_code, outcome.error["code"]) == (2, "usage")
            assert secret[:40] not in outcome.stderr
            assert ".pub file" in outcome.error["hint"]
        assert "subscriptions.pack" not in torsync.config_file.read_text()
