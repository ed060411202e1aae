"""Whether a web server can be reached: its name, its addresses, its certificate."""

from __future__ import annotations

import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from torsync.model.checkup import Finding, failed, ok, skipped, warning
from torsync.subscribe.remote.rules import mask_url
from torsync.subscribe.remote.worker import run_until

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLVE_S = 6.0
CONNECT_S = 4.0
_MOST_ADDRESSES = 8
_CERTIFICATE_DAYS = 14
_DAY_S = 86_400
_NAME_SERVER = "check the host name and the network; the name servers are in /etc/resolv.conf"
_FAMILIES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}

Address = tuple[socket.AddressFamily, str, int]


class Attempt(NamedTuple):
    """What came of a connection to one address: ``error`` is empty if it was made."""

    address: Address
    error: str


def check_reach(url: str) -> list[Finding]:
    """Look up the host of an http or https URL, connect to each of its addresses, and shake hands.

    The last finding is a failure if it is of no use to ask for the URL.
    """
    proxy = _proxy_for(url)
    if proxy:
        return [skipped("url.connect", f"it is asked for through the proxy {mask_url(proxy)}")]
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = resolve(host, port)
    if isinstance(addresses, str):
        return [
            failed("url.resolve", f"no address for the host {host!r}: {addresses}", _NAME_SERVER)
        ]
    shown = ", ".join(address[1] for address in addresses)
    findings = [
        ok("url.resolve", f"{host} is {shown}" if shown != host else f"{host} is an address")
    ]
    attempts = connect_all(addresses)
    findings.append(judge_attempts(host, port, attempts))
    reached = [attempt.address for attempt in attempts if not attempt.error]
    if reached and parts.scheme == "https":
        findings.append(_check_certificate(host, reached[0]))
    return findings


def resolve(
    host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> list[Address] | str:
    """Look up a host; give its addresses, or why there are none. Bounded in time."""

    def look_up() -> list[Address] | str:
        try:
            found = socket.getaddrinfo(host, port, type=kind)
        except socket.gaierror as error:
            return error.strerror or "unknown"
        except (OSError, UnicodeError):
            return "it is no name that a machine may have"
        known = [(family, str(address[0]), port) for family, _, _, _, address in found]
        usual: list[Address] = [one for one in dict.fromkeys(known) if one[0] in _FAMILIES]
        return usual[:_MOST_ADDRESSES]

    ends_s = time.monotonic() + RESOLVE_S
    found = run_until(look_up, lambda: time.monotonic() > ends_s)
    if found is None:
        return f"the name server did not answer within {RESOLVE_S:g} s"
    return found or "none of a kind that this machine uses"


def connect_all(addresses: Sequence[Address]) -> list[Attempt]:
    """Connect to each address, at the same time."""
    with ThreadPoolExecutor(max_workers=len(addresses)) as pool:
        return list(pool.map(_attempt, addresses))


def _attempt(address: Address) -> Attempt:
    try:
        socket.create_connection(address[1:], timeout=CONNECT_S).close()
    except TimeoutError:
        return Attempt(address, f"no answer within {CONNECT_S:g} s")
    except OSError as error:
        return Attempt(address, os.strerror(error.errno) if error.errno else str(error))
    return Attempt(address, "")


def judge_attempts(host: str, port: int, attempts: Sequence[Attempt]) -> Finding:
    """Decide what attempts to connect to all addresses of a host say."""
    refused = [attempt for attempt in attempts if attempt.error]
    said = "; ".join(f"{attempt.address[1]}: {attempt.error}" for attempt in refused)
    if len(refused) == len(attempts):
        return failed(
            "url.connect",
            f"nobody answers at {host} port {port}: {said}",
            "check host and port in the url, this machine's network (`ip route`) and firewall; "
            "else the server is down: try later, or ask the publisher",
        )
    families = {_FAMILIES[attempt.address[0]] for attempt in attempts if not attempt.error}
    over = " and ".join(sorted(families))
    if refused:
        lost = {_FAMILIES[attempt.address[0]] for attempt in refused} - families
        family = f"no {' or '.join(sorted(lost))} from here" if lost else "one address is dead"
        return warning(
            "url.connect",
            f"port {port} answers over {over}; {family}: {said}",
            "polls may first wait for the address that does not answer: mend this machine's "
            "network, or tell the publisher",
        )
    return ok("url.connect", f"port {port} answers over {over}")


def _check_certificate(host: str, address: Address) -> Finding:
    context = ssl.create_default_context()
    bundle = (
        os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or _own_bundle()
    )
    try:
        if os.path.isdir(bundle):
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
        with (
            socket.create_connection(address[1:], timeout=CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
            version = secured.version() or "TLS"
    except ssl.SSLCertVerificationError as error:
        return failed(
            "url.tls",
            f"the certificate is not accepted: {error.verify_message}",
            "check this machine's clock (`timedatectl`) and the host name in the url; name a "
            "private authority's certificate in REQUESTS_CA_BUNDLE",
        )
    except ssl.SSLError as error:
        return failed(
            "url.tls",
            f"no usable TLS connection: {error.reason or 'unknown reason'}",
            "check that scheme and port in the url belong together",
        )
    except OSError as error:
        return failed(
            "url.tls",
            f"the TLS handshake failed: {error.strerror or error}",
            "check REQUESTS_CA_BUNDLE, if it is set, and a proxy or firewall on the way",
        )
    expires_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return judge_certificate(version, (expires_s - time.time()) / _DAY_S)


def judge_certificate(version: str, days_left: float) -> Finding:
    """Decide what the age of a certificate that is accepted says."""
    said = f"{version}; the certificate is good for {days_left:.0f} days"
    if days_left < _CERTIFICATE_DAYS:
        return warning("url.tls", said, "tell the publisher to renew it: polls fail from then on")
    return ok("url.tls", said)


def _own_bundle() -> str:
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415 - costs start-up time

    return DEFAULT_CA_BUNDLE_PATH


def _proxy_for(url: str) -> str:
    from requests.utils import get_environ_proxies, select_proxy  # noqa: PLC0415 - the same

    return select_proxy(url, get_environ_proxies(url)) or ""
