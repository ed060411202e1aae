"""Accept a release only with the publisher's signature: minisign files beside the ``.torrent``.

What is accepted, and how long a signature that does not fit is waited for, ``model.trust``
decides. Nothing of a ``.torrent`` is parsed before it is accepted.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

from torsync.model.errors import (
    ConfigError,
    InterruptedByUserError,
    RemoteInvalidError,
    RemoteUnreachableError,
    UntrustedError,
)
from torsync.model.trust import (
    MAX_SIGNATURE_BYTES,
    Refusal,
    Vouched,
    judge_order,
    key_id,
    next_wait_s,
    read_order,
    show_key_id,
    signature_url,
)
from torsync.subscribe.remote.poll import Fetched, Remote, Timeouts
from torsync.subscribe.remote.rules import RemoteMissingError, mask_url, said_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torsync.model.trust import Order

_TAMPERED = (
    "the tree stays as it is; if it persists, tell the publisher: the server may be tampered with"
)
_SIGN = "the publisher signs with `torsync publish`, or with `minisign -S` and its default comment"


class Facts(Protocol):
    """Where it is remembered what was accepted; a ``TreeState`` is one."""

    def get(self, key: str) -> str:
        """Read one fact; the empty text if there is none."""

    def put(self, **facts: str) -> None:
        """Write facts; an empty text removes one."""


class NoFacts:
    """Remembers nothing: whoever signed is believed."""

    def get(self, key: str) -> str:  # noqa: ARG002 - as ``Facts`` has it
        """Know nothing."""
        return ""

    def put(self, **facts: str) -> None:
        """Forget it."""


@dataclass(frozen=True)
class Patience:
    """How a subscription waits for a signature that may come, or be replaced, in a moment.

    Attributes:
        wait: sleeps so many seconds, True if the work shall stop.
        tell: told once that there is something to wait for, and why.
        stopping: asked while the server is waited for; see ``Remote``.
    """

    wait: Callable[[float], bool]
    tell: Callable[[str, str], None] = lambda _message, _hint: None
    stopping: Callable[[], bool] | None = None


class Trust:
    """Accepts releases at one URL that have a signature by one of some keys, in their order."""

    def __init__(
        self,
        url: str,
        keys: Sequence[str],
        facts: Facts,
        patience: Patience,
        *,
        headers: Mapping[str, str],
    ) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            url: of the ``.torrent``; the signature is where ``signature_url`` says.
            keys: minisign public keys in base64, at least one.
            facts: remembers what was accepted.
            patience: for signatures that don't fit yet.
            headers: as for the ``.torrent``.
        """
        self._url = url
        self._keys = tuple(keys)
        self._facts = facts
        self._patience = patience
        self._headers = headers

    @property
    def newest(self) -> Vouched | None:
        """The newest release that was ever accepted."""
        return Vouched.load(self._facts.get("vouched"))

    def covers(self, digest: str) -> bool:
        """Whether the newest accepted release is this one, by a key that is configured now."""
        newest = self.newest
        return newest is not None and newest.covers(digest, self._keys)

    def require(self, digest: str, name: str) -> None:
        """Refuse a stored release that was not accepted under the keys configured now.

        Args:
            digest: of its bytes.
            name: of the subscription.

        Raises:
            UntrustedError: it was not.
        """
        if not self.covers(digest):
            raise UntrustedError(
                f"{name}: the release that the last poll got was not checked with the public_keys "
                "that are configured now",
                reason=Refusal.UNSIGNED,
                hint=f"run `torsync check-now --dry-run {name}`: it polls again and checks that",
            )

    def record(self, vouched: Vouched) -> None:
        """Remember the newest accepted release."""
        if vouched != self.newest or self._facts.get("untrusted"):
            self._facts.put(vouched=vouched.dump(), untrusted="")

    def accept(
        self,
        found: Fetched,
        *,
        timeouts: Timeouts,
        again: Callable[[], Fetched] | None,
        force: bool = False,
    ) -> tuple[Fetched, Vouched]:
        """Accept a release that was fetched, or one that is fetched meanwhile.

        Args:
            found: what is at the URL.
            timeouts: for fetching the signature.
            again: fetches the ``.torrent`` past caches; None: there is one try.
            force: check the signature of what was accepted before, too.

        Returns:
            The release, and what vouches for it; for ``record``, once it has been parsed.

        Raises:
            UntrustedError: it is unsigned, forged, signed by another key, or older.
            RemoteError: one of the two files could not be had.
            InterruptedByUserError: the work shall stop.
        """
        refusals: list[Refusal] = []
        while True:
            newest = self.newest
            if newest is not None and newest.covers(found.sha256, self._keys) and not force:
                return found, newest._replace(url=self._url)
            signature = self._fetch_signature(timeouts, uncached=bool(refusals))
            try:
                return found, self._judge(found, signature, newest)
            except UntrustedError as error:
                refusals.append(Refusal(error.reason))
                if again is None:
                    raise
                given_up = f"{refusals[-1].value} {found.sha256}"
                is_known = self._facts.get("untrusted") == given_up
                wait_s = next_wait_s(refusals, is_known=is_known)
                if wait_s is None:
                    self._facts.put(untrusted=given_up)
                    raise
                reason = error.message
            self._wait(wait_s, reason, is_first=len(refusals) == 2)
            found = again()

    def _wait(self, wait_s: float, reason: str, *, is_first: bool) -> None:
        if is_first:
            hint = "it is fetched again for up to a minute: the publisher may be replacing it now"
            self._patience.tell(reason, hint)
        if wait_s and self._patience.wait(wait_s):
            shown = mask_url(signature_url(self._url))
            raise InterruptedByUserError(f"{shown}: stopped while a signature was waited for")

    def _fetch_signature(self, timeouts: Timeouts, *, uncached: bool) -> bytes | None:
        """Fetch the signature; None if there is none, no signature if it cannot be one."""
        remote = Remote(
            signature_url(self._url),
            headers=self._headers,
            max_bytes=MAX_SIGNATURE_BYTES,
            timeouts=timeouts,
            wait=self._patience.wait,
            stopping=self._patience.stopping,
            check=_take_any,
        )
        try:
            answer = remote.poll(uncached=uncached)
        except RemoteMissingError:
            return None
        except RemoteInvalidError:  # too large, or damaged
            return b""
        except RemoteUnreachableError as error:
            said = said_of("a signature", error)
            raise RemoteUnreachableError(said, hint=error.hint) from None
        assert isinstance(answer, Fetched)
        return answer.body

    def _judge(self, found: Fetched, signature: bytes | None, newest: Vouched | None) -> Vouched:
        shown = mask_url(self._url)
        if signature is None:
            raise UntrustedError(
                f"{shown}: expected a signed release, as public_keys are configured, "
                f"found no signature at {mask_url(signature_url(self._url))}",
                reason=Refusal.UNSIGNED,
                hint=_TAMPERED
                if newest is not None
                else "the publisher has to sign it; if they never do, remove public_keys",
            )
        key, comment = check_signature(found.body, signature, self._keys, shown)
        order = read_order(comment)
        refusal = judge_order(order, found.sha256, self._url, newest, self._keys)
        if order is None:
            raise UntrustedError(
                f"{shown}: expected a signature that says when it was made, found none in its "
                f"trusted comment ({_printable(comment)[:100]!r})",
                reason=Refusal.UNDATED,
                hint=_SIGN,
            )
        if refusal is not None and newest is not None:
            raise _order_error(shown, refusal, order, newest.order)
        if newest is not None and newest.digest == found.sha256:
            order = max(order, newest.order)
        return Vouched(found.sha256, key, order, self._url)


def check_signature(
    body: bytes, signature: bytes, keys: Sequence[str], shown_url: str
) -> tuple[str, str]:
    """Check a minisign signature, of the older kind or prehashed, and that of its comment.

    Args:
        body: what was signed.
        signature: the content of the ``.minisig`` file.
        keys: that may have signed, in base64.
        shown_url: of the body, for messages.

    Returns:
        The key that has signed, and the trusted comment.

    Raises:
        UntrustedError: none of the keys has signed this.
        ConfigError: a key is none.
    """
    from minisign import (  # noqa: PLC0415 - costs start-up time
        ParseError,
        PublicKey,
        Signature,
        VerifyError,
    )

    try:
        parsed = Signature.from_bytes(signature)
    except ParseError as error:
        raise UntrustedError(
            f"{shown_url}: expected a minisign signature beside it, found something else: {error}",
            reason=Refusal.MALFORMED,
            hint=_TAMPERED,
        ) from error
    line = signature.splitlines()[1]  # algorithm, key id, signature
    signer = show_key_id(b64decode(line)[2:10])
    ids = [key_id(key) for key in keys]
    for key, its_id in zip(keys, ids, strict=True):
        if its_id != signer:
            continue
        try:
            PublicKey.from_base64(key).verify(body, parsed)
        except ParseError as error:
            raise ConfigError(
                f"public_keys: {key} is no minisign public key: {error}",
                hint="write the second line of the .pub file",
            ) from error
        except VerifyError:
            continue
        return key, parsed.trusted_comment
    if signer in ids:
        raise UntrustedError(
            f"{shown_url}: expected the .torrent that was signed, found one that the signature by "
            f"key {signer} does not fit: one of them is forged, damaged or out of date",
            reason=Refusal.FORGED,
            hint=_TAMPERED,
        )
    raise UntrustedError(
        f"{shown_url}: expected a signature by key {' or '.join(ids)} of public_keys, "
        f"found one by key {signer}",
        reason=Refusal.OTHER_KEY,
        hint="if the publisher has a new key, get it from them by another way than this server, "
        "and add it to public_keys",
    )


def _order_error(shown: str, refusal: Refusal, order: Order, newest: Order) -> UntrustedError:
    found, known = _show_order(order), _show_order(newest)
    if refusal is Refusal.OLDER:
        return UntrustedError(
            f"{shown}: expected no release older than the one {known}, found one {found}",
            reason=refusal,
            hint="the server may have gone back to an old state, or somebody withholds updates; a "
            "publisher who wants an old release back signs it anew",
        )
    return UntrustedError(
        f"{shown}: expected one release {known}, found a second, different one",
        reason=refusal,
        hint="the publisher has to sign it anew: nobody can tell which one is the newer",
    )


def _show_order(order: Order) -> str:
    signed = datetime.fromtimestamp(order.time_s, timezone.utc)
    number = f" as release {order.number}" if order.number else ""
    return f"signed {signed:%Y-%m-%d %H:%M:%S} UTC{number}"


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


def _take_any(_body: bytes, _shown_url: str) -> None:
    """What a signature looks like is for minisign to say."""
