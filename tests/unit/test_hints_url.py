"""Where a ``.torrent`` may say that its hints are: it comes from strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.trust import signature_url
from torsync.subscribe.remote.local import file_path
from torsync.subscribe.remote.references import hints_url


@pytest.mark.parametrize(
    ("configured", "reference", "expected"),
    [
        ("https://h/a/x.torrent", "x.torrent.hints", "https://h/a/x.torrent.hints"),
        ("https://h/a/x.torrent", "./x.torrent.hints", "https://h/a/x.torrent.hints"),
        ("https://h/a/x.torrent", "../b/y.hints", "https://h/b/y.hints"),
        ("https://h/a/x.torrent", "../../../y.hints", "https://h/y.hints"),
        ("https://h/a/x.torrent", "/y.hints?v=1#part", "https://h/y.hints?v=1"),
        ("https://h/a/x.torrent", "https://cdn/y.hints", "https://cdn/y.hints"),
        ("https://h/a/x.torrent", "//cdn:8443/y.hints", "https://cdn:8443/y.hints"),
        ("http://h/x.torrent", "https://h/y.hints", "https://h/y.hints"),
        ("http://h/x.torrent", "http://cdn/y.hints", "http://cdn/y.hints"),
        ("HTTP://h/x.torrent", "y.hints", "http://h/y.hints"),
        ("https://u:pw@h/x.torrent", "x.torrent.hints", "https://u:pw@h/x.torrent.hints"),
        ("https://u:pw@h/x.torrent", "https://h/x.torrent.hints", "https://h/x.torrent.hints"),
        ("https://u:pw@h/x.torrent", "//cdn/x.torrent.hints", "https://cdn/x.torrent.hints"),
        ("https://h/my%20x.torrent", "my%20x.torrent.hints", "https://h/my%20x.torrent.hints"),
    ],
)
def test_a_reference_is_relative_to_the_configured_url(
    configured: str, reference: str, expected: str
) -> None:
    assert hints_url(configured, reference) == expected


@pytest.mark.parametrize(
    ("configured", "reference", "expected"),
    [
        ("https://h/x.torrent?k=1", "x.torrent.hints", "https://h/x.torrent.hints?k=1"),
        ("https://h/a%2Bb.torrent?k=1", "a+b.torrent.hints", "https://h/a+b.torrent.hints?k=1"),
        ("https://h/x.torrent?k=1#f", "x.torrent.hints", "https://h/x.torrent.hints?k=1"),
        ("https://h/x.torrent?k=1", "x.torrent.hints?k=2", "https://h/x.torrent.hints?k=2"),
        ("https://h/x.torrent?k=1", "y.hints", "https://h/y.hints"),
        ("https://h/x.torrent?k=1", "x.torrent.d/hints", "https://h/x.torrent.d/hints"),
        ("https://h/x.torrent?k=1", "//cdn/x.torrent.hints", "https://cdn/x.torrent.hints"),
        ("https://h/get/?f=x.torrent", "x.torrent.hints", "https://h/get/x.torrent.hints"),
        ("https://h?f=x.torrent", "x.torrent.hints", "https://h/x.torrent.hints"),
    ],
)
def test_a_query_is_kept_where_the_name_of_the_torrent_is_added_to(
    configured: str, reference: str, expected: str
) -> None:
    assert hints_url(configured, reference) == expected


@pytest.mark.parametrize(
    "configured",
    [
        "https://u:pw@h/a/x.torrent?token=1#f",
        "http://h:8080/my%20pack.torrent",
        "file:///srv/a%20b/x.torrent",
    ],
)
def test_hints_beside_the_torrent_are_where_its_signature_is(configured: str) -> None:
    name = configured.partition("?")[0].rpartition("/")[2]
    found = hints_url(configured, f"{name}.hints")
    assert found == signature_url(configured).replace(".minisig", ".hints")


@pytest.mark.parametrize(
    ("configured", "reference"),
    [
        ("https://h/x.torrent", ""),
        ("https://h/x.torrent", "http://h/x.hints"),
        ("https://h/x.torrent", "file:///etc/passwd"),
        ("http://h/x.torrent", "file:///etc/passwd"),
        ("http://h/x.torrent", "file:x.hints"),
        ("http://h/x.torrent", "FILE:///etc/passwd"),
        ("http://h/x.torrent", "\tfile:///etc/passwd"),
        ("http://h/x.torrent", "fi\nle:///etc/passwd"),
        ("http://h/x.torrent", "ftp://h/x.hints"),
        ("http://h/x.torrent", "x:hints"),
        ("http://h/x.torrent", "http://user@h/x.hints"),
        ("http://h/x.torrent", "//user:pw@h/x.hints"),
        ("http://h/x.torrent", "http://h:0/x.hints"),
        ("http://h/x.torrent", "http://h:port/x.hints"),
        ("http://h/x.torrent", "http://[::1/x.hints"),
        ("http://h/x.torrent", "http://:80/x.hints"),
        ("http://h/x.torrent", "a b.hints"),
        ("http://h/x.torrent", "\\\\host\\x.hints"),
        ("http://h/x.torrent", "\udcff.hints"),
        ("http://h/x.torrent", "x" * 3000),
        ("file:///srv/x.torrent", "http://h/x.hints"),
        ("file:///srv/x.torrent", "https://h/x.hints"),
        ("file:///srv/x.torrent", "//h/srv/x.hints"),
        ("file:///srv/x.torrent", "//user@localhost/srv/x.hints"),
        ("file:///srv/x.torrent", "file://h/srv/x.hints"),
        ("file:///srv/x.torrent", "../x.hints"),
        ("file:///srv/x.torrent", "a/../../x.hints"),
        ("file:///srv/x.torrent", "%2e%2e/x.hints"),
        ("file:///srv/x.torrent", "a%2F..%2F..%2Fx.hints"),
        ("file:///srv/x.torrent", "a%5C..%5Cx.hints"),
        ("file:///srv/x.torrent", "x%00.hints"),
        ("file:///srv/x.torrent", "/etc/passwd"),
        ("file:///srv/x.torrent", "/srv/../etc/passwd"),
        ("file:///srv/x.torrent", "/srv2/x.hints"),
        ("file:///srv/x.torrent", "/srv"),
        ("file:///srv/x.torrent", "file:///etc/passwd"),
        ("file:///srv/x.torrent", "file:x.hints"),
        ("file:///srv/x.torrent", "x.hints?v=1"),
        ("file:///srv/x.torrent", "x.hints#part"),
        ("file:///srv/x.torrent", "a/"),
        ("file:///srv/x.torrent", "."),
        ("file:///srv/x.torrent", "a/.."),
        ("file:///srv/x.torrent", "?"),
        ("file://host/srv/x.torrent", "x.hints"),
    ],
)
def test_references_that_may_not_be_followed(configured: str, reference: str) -> None:
    assert hints_url(configured, reference) is None


@pytest.mark.parametrize(
    ("configured", "reference", "path"),
    [
        ("file:///srv/x.torrent", "x.torrent.hints", "/srv/x.torrent.hints"),
        ("file:///srv/x.torrent", "./a/../b/./y.hints", "/srv/b/y.hints"),
        ("file:///srv/x.torrent", "/srv/b/y.hints", "/srv/b/y.hints"),
        ("file:///srv/x.torrent", "file:///srv/y.hints", "/srv/y.hints"),
        ("file:///srv/x.torrent", "file://localhost/srv/y.hints", "/srv/y.hints"),
        ("file://localhost/srv/x.torrent", "y.hints", "/srv/y.hints"),
        ("file:/srv/x.torrent", "y.hints", "/srv/y.hints"),
        ("file:///x.torrent", "y.hints", "/y.hints"),
        ("file:///x.torrent", "/a/y.hints", "/a/y.hints"),
        ("file:///srv/a#b/what?.torrent", "what%3F.torrent.hints", "/srv/a#b/what?.torrent.hints"),
        ("file:///srv/a%20b/x.torrent", "/srv/a%20b/%C3%A9.hints", "/srv/a b/é.hints"),
        ("file:///srv/../srv/x.torrent", "y.hints", "/srv/../srv/y.hints"),
    ],
)
def test_a_file_may_lead_to_files_in_its_folder_and_below(
    configured: str, reference: str, path: str
) -> None:
    found = hints_url(configured, reference)
    assert found is not None
    assert file_path(found) == path


@given(st.text(alphabet="ab./%2eEfF:@?#\\ \t", max_size=24))
def test_no_reference_leads_out_of_a_local_folder(reference: str) -> None:
    found = hints_url("file:///srv/pack/x.torrent", reference)
    if found is not None:
        path = file_path(found)
        assert path.startswith("/srv/pack/")
        assert not {"", ".", ".."} & {*path.split("/")[1:]}


@given(st.text(alphabet="ahftpsile./:@?#\\ \t%2", max_size=24))
def test_no_reference_leads_from_https_to_anything_else(reference: str) -> None:
    found = hints_url("https://h/pack/x.torrent", reference)
    assert found is None or found.startswith("https://")
