"""Keys and signatures, with the minisign program on the other side of each."""

from __future__ import annotations

import base64
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.signing import Minisign, sign_with_comment, signer
from torsync.model.errors import ConfigError, TorsyncError, UntrustedError, UsageError
from torsync.model.trust import read_order
from torsync.publish.keys import (
    PASSWORD,
    PASSWORD_FILE,
    find_password,
    generate_keys,
    load_secret_key,
    public_key_file,
)
from torsync.publish.signing import Signer
from torsync.subscribe.trust import check_signature

if TYPE_CHECKING:
    from pathlib import Path

BODY = b"d4:infod4:name4:packee"
NOTHING: dict[str, str] = {}


@pytest.fixture
def minisign(tmp_path: Path) -> Minisign:
    return Minisign(tmp_path / "minisign")


@pytest.mark.programs
class TestTheMinisignProgram:
    def test_verifies_what_torsync_signs(self, tmp_path: Path, minisign: Minisign) -> None:
        keys = generate_keys(tmp_path / "own.key")
        made = Signer.load(tmp_path / "own.key", NOTHING)
        torrent = tmp_path / "pack.torrent"
        torrent.write_bytes(BODY)
        signature = made.sign(BODY, file_name="pack.torrent", number=3, time_s=1_700_000_000.9)
        (tmp_path / "pack.torrent.minisig").write_bytes(signature)

        told = minisign.run("-V", "-H", "-m", torrent, "-P", made.public_key)
        assert "timestamp:1700000000\tfile:pack.torrent\thashed\trelease:3" in told
        minisign.run("-V", "-m", torrent, "-p", keys.public_key_file)
        torrent.write_bytes(BODY.replace(b"pack", b"hack"))
        with pytest.raises(AssertionError, match="verification failed"):
            minisign.run("-V", "-m", torrent, "-P", made.public_key)

    @pytest.mark.parametrize("legacy", [(), ("-l",)], ids=["prehashed", "legacy"])
    def test_signs_what_torsync_accepts(
        self, tmp_path: Path, minisign: Minisign, legacy: tuple[str, ...]
    ) -> None:
        torrent = tmp_path / "pack.torrent"
        torrent.write_bytes(BODY)
        signature = minisign.sign(torrent, *legacy)
        key, comment = check_signature(BODY, signature, [minisign.public_key], "url")
        assert key == minisign.public_key
        assert ("hashed" in comment) == (not legacy)
        assert read_order(comment) is not None

    def test_signs_with_keys_that_torsync_made(self, tmp_path: Path, minisign: Minisign) -> None:
        keys = generate_keys(tmp_path / "own.key")
        (tmp_path / "f").write_bytes(BODY)
        minisign.run("-S", "-m", tmp_path / "f", "-s", keys.secret_key_file)
        check_signature(BODY, (tmp_path / "f.minisig").read_bytes(), [keys.public_key], "url")

    def test_opens_encrypted_keys_that_torsync_made(
        self, tmp_path: Path, minisign: Minisign
    ) -> None:
        keys = generate_keys(tmp_path / "own.key", password="a secret")
        assert keys.encrypted
        (tmp_path / "f").write_bytes(BODY)
        minisign.run("-S", "-m", tmp_path / "f", "-s", keys.secret_key_file, typed="a secret\n")
        check_signature(BODY, (tmp_path / "f.minisig").read_bytes(), [keys.public_key], "url")

    def test_makes_keys_that_torsync_signs_with(self, tmp_path: Path, minisign: Minisign) -> None:
        made = Signer.load(minisign.secret_key, NOTHING)
        assert made.public_key == minisign.public_key
        signature = made.sign(BODY, file_name="f", number=1, time_s=1)
        (tmp_path / "f").write_bytes(BODY)
        (tmp_path / "f.minisig").write_bytes(signature)
        minisign.run("-V", "-m", tmp_path / "f", "-P", minisign.public_key)

    def test_makes_encrypted_keys_that_torsync_signs_with(
        self, tmp_path: Path, minisign: Minisign
    ) -> None:
        public, secret = tmp_path / "k.pub", tmp_path / "k.key"
        minisign.run("-G", "-p", public, "-s", secret, typed="a secret\na secret\n")
        assert Signer.load(secret, {PASSWORD: "a secret"}).public_key in public.read_text()

    def test_prints_the_same_key_id(self, tmp_path: Path, minisign: Minisign) -> None:
        keys = generate_keys(tmp_path / "own.key")
        minisign.run("-R", "-s", keys.secret_key_file, "-p", tmp_path / "again.pub")
        # Older versions of minisign leave out leading zeros.
        assert f" {keys.key_id.lstrip('0')}\n" in (tmp_path / "again.pub").read_text()
        assert keys.public_key in (tmp_path / "again.pub").read_text()


class TestGenerateKeys:
    def test_only_the_owner_can_read_the_secret_key(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            generate_keys(tmp_path / "new" / "a.key")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "new" / "a.key").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "new" / "a.key.pub").stat().st_mode) == 0o644

    def test_what_is_told_is_what_is_written(self, tmp_path: Path) -> None:
        keys = generate_keys(tmp_path / "a.key")
        assert public_key_file(tmp_path / "a.key").read_text() == (
            f"untrusted comment: minisign public key {keys.key_id}\n{keys.public_key}\n"
        )
        assert keys.public_key_file == str(tmp_path / "a.key.pub")
        assert Signer.load(tmp_path / "a.key", NOTHING).public_key == keys.public_key
        assert not keys.encrypted
        assert sorted(os.listdir(tmp_path)) == ["a.key", "a.key.pub"]

    @pytest.mark.parametrize("present", ["a.key", "a.key.pub"])
    def test_a_key_is_never_overwritten_unless_asked_to(self, tmp_path: Path, present: str) -> None:
        (tmp_path / present).write_text("precious")
        with pytest.raises(UsageError, match=f"{present}' is there already"):
            generate_keys(tmp_path / "a.key")
        assert (tmp_path / present).read_text() == "precious"
        assert os.listdir(tmp_path) == [present]

        keys = generate_keys(tmp_path / "a.key", force=True)
        assert Signer.load(tmp_path / "a.key", NOTHING).public_key == keys.public_key
        assert sorted(os.listdir(tmp_path)) == ["a.key", "a.key.pub"]
        assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600

    def test_a_link_that_leads_nowhere_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "a.key").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError, match="is there already"):
            generate_keys(tmp_path / "a.key")
        assert not (tmp_path / "elsewhere").exists()

    def test_a_folder_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="cannot write the key"):
            generate_keys(tmp_path / "file" / "a.key")


class TestLoadSecretKey:
    @pytest.fixture
    def key(self, tmp_path: Path) -> Path:
        generate_keys(tmp_path / "a.key")
        return tmp_path / "a.key"

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o666, 0o620])
    def test_a_key_that_others_can_read_is_refused(self, key: Path, mode: int) -> None:
        key.chmod(mode)
        with pytest.raises(ConfigError, match=f"by others.*{mode:04o}") as caught:
            Signer.load(key, NOTHING)
        assert f"chmod 600 {key}" in caught.value.hint

    @pytest.mark.parametrize("mode", [0o400, 0o440, 0o640])
    def test_a_group_may_read_it_as_credentials_of_systemd_look_like_that(
        self, key: Path, mode: int
    ) -> None:
        key.chmod(mode)
        Signer.load(key, NOTHING)

    def test_a_missing_key_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file") as caught:
            Signer.load(tmp_path / "none", NOTHING)
        assert "torsync keygen" in caught.value.hint

    def test_what_is_no_key_is_told(self, tmp_path: Path) -> None:
        generate_keys(tmp_path / "a.key")
        (tmp_path / "large").write_bytes(bytes(10_000))
        (tmp_path / "empty").touch()
        (tmp_path / "text").write_text("one\ntwo\n")
        os.mkfifo(tmp_path / "fifo", 0o600)
        for name in ("large", "empty", "text", "fifo", "a.key.pub", "."):
            if name != ".":
                (tmp_path / name).chmod(0o600)
            with pytest.raises(ConfigError):
                load_secret_key(tmp_path / name, NOTHING)

    def test_a_damaged_key_does_not_sign(self, key: Path) -> None:
        comment, line = key.read_text().splitlines()
        raw = bytearray(base64.b64decode(line))
        raw[70] ^= 1  # in the seed: what it signs, its public key does not verify
        key.write_text(f"{comment}\n{base64.b64encode(raw).decode()}\n")
        with pytest.raises(ConfigError, match="cannot be used"):
            Signer.load(key, NOTHING)

    def test_an_encrypted_key_wants_its_password(self, tmp_path: Path) -> None:
        keys = generate_keys(tmp_path / "b.key", password="right")
        with pytest.raises(ConfigError, match="no password") as caught:
            Signer.load(tmp_path / "b.key", NOTHING)
        assert PASSWORD in caught.value.hint
        with pytest.raises(ConfigError, match="wrong password"):
            Signer.load(tmp_path / "b.key", {PASSWORD: "wrong"})
        loaded = Signer.load(tmp_path / "b.key", {PASSWORD: "right"})
        assert loaded.public_key == keys.public_key

    def test_the_password_may_be_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text("in a file\n")
        file.chmod(0o600)
        assert find_password({PASSWORD_FILE: str(file)}) == "in a file"
        assert find_password({PASSWORD: "first", PASSWORD_FILE: str(file)}) == "first"
        file.chmod(0o644)
        with pytest.raises(ConfigError, match="the password file"):
            find_password({PASSWORD_FILE: str(file)})

    def test_a_password_that_is_not_utf_8_is_told(self, tmp_path: Path) -> None:
        generate_keys(tmp_path / "b.key", password="right")
        file = tmp_path / "password"
        file.write_bytes(b"gr\xfcn\n")
        file.chmod(0o600)
        for environ in ({PASSWORD_FILE: str(file)}, {PASSWORD: os.fsdecode(b"gr\xfcn")}):
            with pytest.raises(ConfigError, match="is not UTF-8") as caught:
                Signer.load(tmp_path / "b.key", environ)
            assert "gr" not in caught.value.message.replace(str(tmp_path), "")

    def test_no_secret_is_in_a_message(self, key: Path) -> None:
        secret = key.read_text().splitlines()[1]
        key.write_text(f"{secret}\n")
        with pytest.raises(TorsyncError) as caught:
            Signer.load(key, NOTHING)
        assert secret[:40] not in str(caught.value) + caught.value.hint


class TestCheckSignature:
    @pytest.mark.parametrize(
        "signature",
        [
            *(b"", b"\n\n\n\n", b"<html>404</html>", b"\xff\xfe", b"a\nb\nc\nd\n"),
            b"untrusted comment: x\n%%%\ntrusted comment: timestamp:1\n%%%\n",
            b"untrusted comment: x\nRUQf\ntrusted comment: timestamp:1\nRUQf\n",
        ],
    )
    def test_what_is_no_signature_is_refused(self, signature: bytes) -> None:
        with pytest.raises(UntrustedError) as caught:
            check_signature(BODY, signature, [signer().public_key], "url")
        assert caught.value.reason == "malformed"

    def test_no_change_goes_unseen(self) -> None:
        first, *signed = sign_with_comment(BODY, "timestamp:1").splitlines()
        key = signer().public_key
        check_signature(BODY, b"\n".join([first, *signed]), [key], "url")
        for number, line in enumerate(signed):
            content = line if number == 1 else base64.b64decode(line)
            for position in range(len(content)):
                changed = bytearray(content)
                changed[position] ^= 4
                lines = [first, *signed]
                lines[number + 1] = bytes(changed) if number == 1 else base64.b64encode(changed)
                with pytest.raises(UntrustedError):
                    check_signature(BODY, b"\n".join(lines), [key], "url")

    def test_an_old_release_with_the_date_of_a_new_one_is_forged(self) -> None:
        old = sign_with_comment(BODY, "timestamp:1").splitlines()
        new = sign_with_comment(b"d4:newse", "timestamp:9").splitlines()
        for mixed in ([*old[:2], *new[2:]], [*old[:2], new[2], old[3]]):
            with pytest.raises(UntrustedError) as caught:
                check_signature(BODY, b"\n".join(mixed), [signer().public_key], "url")
            assert caught.value.reason == "forged"

    def test_a_key_with_the_same_id_does_not_do(self) -> None:
        signature = sign_with_comment(BODY, "timestamp:1")
        own, other = (
            base64.b64decode(signer(name).public_key) for name in ("publisher", "mallory")
        )
        same_id = base64.b64encode(own[:10] + other[10:]).decode()
        with pytest.raises(UntrustedError) as caught:
            check_signature(BODY, signature, [same_id], "url")
        assert caught.value.reason == "forged"
        key, _ = check_signature(BODY, signature, [same_id, signer().public_key], "url")
        assert key == signer().public_key
