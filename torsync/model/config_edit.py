"""Changes to the text of a configuration file that leave the rest of it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import ConfigError, UsageError
from torsync.model.toml_lines import parse_toml

if TYPE_CHECKING:
    from collections.abc import Sequence


def add_subscription(
    text: str, name: str, url: str, path: str, public_keys: Sequence[str] = ()
) -> str:
    """Append a ``[subscriptions.NAME]`` table to a configuration.

    Args:
        text: the configuration as it is; may be empty. It stays as it is, comments included,
            but for a line end where the last line has none.
        name: of the new subscription.
        url: of its ``.torrent``.
        path: of its tree, written as it is given.
        public_keys: that its releases must be signed with; none: they need no signature.

    Raises:
        UsageError: there is a subscription of that name, or TOML cannot hold what is given.
        ConfigError: the text is no TOML, or writes its subscriptions in a form that no table
            can be added to.
    """
    import tomli_w  # noqa: PLC0415 - costs start-up time

    present = parse_toml(text, source="configuration").get("subscriptions", {})
    if isinstance(present, dict) and name in present:
        raise UsageError(
            f'there is a subscription named "{name}" already',
            hint="choose another name with --name, or edit the configuration file",
        )
    try:
        f"{name}{url}{path}".encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"expected name, URL and path in UTF-8, found other bytes: {name!a} {url!a} {path!a}",
            hint="rename the folder, or reach it by a symbolic link with another name",
        ) from None
    table: dict[str, str | list[str]] = {"url": url, "path": path}
    if public_keys:
        table["public_keys"] = list(public_keys)
    added = tomli_w.dumps({"subscriptions": {name: table}})
    if "\r\n" in text:
        added = added.replace("\n", "\r\n")
    line_end = "\r\n" if "\r\n" in text else "\n"
    separator = "" if not text else line_end if text.endswith("\n") else 2 * line_end
    extended = text + separator + added
    try:
        subscriptions = parse_toml(extended, source="configuration").get("subscriptions")
    except ConfigError:
        subscriptions = None
    if not isinstance(subscriptions, dict) or subscriptions.get(name) != table:
        raise ConfigError(
            f'the subscription "{name}" cannot be added: the configuration does not write its '
            "subscriptions as tables of their own",
            hint="write each as a table with the header [subscriptions.NAME]",
        )
    return extended
