"""The poll against a real web server: the same contract as in ``test_remote``."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.nginx import Nginx, nginx
from torsync.model.errors import RemoteInvalidError, RemoteUnreachableError
from torsync.subscribe.remote.poll import Fetched, NotModified, Remote, Validators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.programs

BODY = b"d4:infod4:name" + b"4096:" + bytes(4096) + b"ee"
CONFIG = """
gzip on; gzip_min_length 0; gzip_types application/x-bittorrent;
location = /old.torrent { return 301 /pack.torrent; }
location = /found.torrent { return 302 $scheme://$http_host/pack.torrent; }
location = /loop.torrent { return 302 /loop.torrent; }
location = /busy.torrent { return 503; }
location = /bare.torrent { etag off; if_modified_since off; add_header Last-Modified "";
                           try_files /pack.torrent =404; }
location /private/ { auth_basic "mods"; auth_basic_user_file passwords; }
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nginx]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    root = tmp_path / "www"
    (root / "private").mkdir(parents=True)
    (root / "pack.torrent").write_bytes(BODY)
    os.utime(root / "pack.torrent", (1_700_000_000, 1_700_000_000))
    (root / "private" / "pack.torrent").write_bytes(BODY)
    (root / "index.html").write_text("<!DOCTYPE html><title>Mods</title>")
    (tmp_path / "passwords").write_text("user:{PLAIN}secret\n")
    config = CONFIG.replace(" passwords;", f' "{tmp_path}/passwords";')
    with nginx(root, extra_server_config=config) as running:
        yield running


def poll(url: str, validators: Validators | None = None, **headers: str) -> Fetched | NotModified:
    return Remote(url, headers=headers, wait=lambda _: False).poll(validators)


def fetch(url: str, **headers: str) -> Fetched:
    fetched = poll(url, **headers)
    assert isinstance(fetched, Fetched)
    return fetched


def test_unchanged_is_not_fetched_again_and_changed_is(server: Nginx) -> None:
    url = server.url_for("pack.torrent")
    first = fetch(url)
    assert first.body == BODY
    assert first.validators.etag
    assert first.validators.last_modified
    assert poll(url, first.validators) == NotModified()
    assert poll(url, Validators(etag=first.validators.etag)) == NotModified()
    modified = Validators(last_modified=first.validators.last_modified)
    assert poll(url, modified) == NotModified()
    assert [line.status for line in server.access_log(at_least=4)] == [200, 304, 304, 304]

    (server.root / "new").write_bytes(BODY.replace(b"\0", b"1"))
    os.replace(server.root / "new", server.root / "pack.torrent")
    os.utime(server.root / "pack.torrent", (10**9, 10**9))
    second = poll(url, first.validators)
    assert isinstance(second, Fetched)
    assert second.sha256 != first.sha256
    assert second.validators != first.validators


def test_a_torrent_that_was_just_replaced_is_not_missed_in_the_same_second(server: Nginx) -> None:
    """nginx makes its ETag of size and whole seconds: both stay when two releases come fast."""
    url = server.url_for("pack.torrent")
    os.utime(server.root / "pack.torrent")
    first = fetch(url)
    (server.root / "pack.torrent").write_bytes(BODY.replace(b"\0", b"1"))
    second = poll(url, first.validators)
    assert isinstance(second, Fetched)
    assert second.sha256 != first.sha256


def test_gzip_is_used_on_the_wire(server: Nginx) -> None:
    assert fetch(server.url_for("pack.torrent")).body == BODY
    assert server.access_log(at_least=1)[0].body_bytes < len(BODY) / 10


def test_a_server_without_validators_works(server: Nginx) -> None:
    assert fetch(server.url_for("bare.torrent")).validators == Validators()


@pytest.mark.parametrize("name", ["old.torrent", "found.torrent"])
def test_redirects_are_followed(server: Nginx, name: str) -> None:
    fetched = fetch(server.url_for(name))
    assert fetched.body == BODY
    assert poll(server.url_for(name), fetched.validators) == NotModified()


def test_a_redirect_loop_ends(server: Nginx) -> None:
    with pytest.raises(RemoteUnreachableError, match="more than 10"):
        poll(server.url_for("loop.torrent"))
    assert len(server.access_log(at_least=11)) == 11


def test_404_says_to_check_the_url(server: Nginx) -> None:
    with pytest.raises(RemoteUnreachableError, match="found status 404") as caught:
        poll(server.url_for("missing.torrent"))
    assert "check the URL" in caught.value.hint


def test_basic_authentication_works_through_headers_and_through_the_url(server: Nginx) -> None:
    url = server.url_for("private/pack.torrent")
    for wrong in ({}, {"Authorization": "Basic " + base64.b64encode(b"user:wrong").decode()}):
        with pytest.raises(RemoteUnreachableError, match="found status 401") as caught:
            poll(url, **wrong)
        assert "check headers" in caught.value.hint
    right = "Basic " + base64.b64encode(b"user:secret").decode()
    assert fetch(url, Authorization=right).body == BODY
    assert fetch(url.replace("//", "//user:secret@")).body == BODY


def test_503_is_tried_four_times(server: Nginx) -> None:
    with pytest.raises(RemoteUnreachableError, match=r"503.*tried 4 times"):
        poll(server.url_for("busy.torrent"))
    assert [line.status for line in server.access_log(at_least=4)] == [503] * 4


def test_an_html_page_is_recognised(server: Nginx) -> None:
    with pytest.raises(RemoteInvalidError, match="an HTML page"):
        poll(server.url)


def test_a_server_that_recovers_between_attempts_is_used(server: Nginx) -> None:
    def mend(_: float) -> bool:
        server.reload(extra_server_config="rewrite ^/busy.torrent$ /pack.torrent;")
        return False

    fetched = Remote(server.url_for("busy.torrent"), wait=mend).poll()
    assert isinstance(fetched, Fetched)
    assert [line.status for line in server.access_log(at_least=2)] == [503, 200]


def test_a_wrong_configuration_is_reported_by_reload_and_start(
    server: Nginx, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="nonsense"):
        server.reload(extra_server_config="nonsense;")
    with (
        pytest.raises(RuntimeError, match="nonsense"),
        nginx(tmp_path, extra_http_config="nonsense;"),
    ):
        pass
