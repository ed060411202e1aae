"""How the TOML of a configuration file becomes a :class:`~torsync.model.config.Config`.

All problems are found in one pass and reported together, each with the line of its key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from torsync.model.config import (
    Config,
    FeedConfig,
    NotifyConfig,
    PublicationConfig,
    ServiceConfig,
    SessionConfig,
    SettingValue,
    SubscriptionConfig,
)
from torsync.model.config_checks import Owned, check_publications, check_trees
from torsync.model.config_service import (
    to_command,
    to_control_address,
    to_hook_timeout_s,
    to_notify_url,
    to_update_window,
)
from torsync.model.config_table import Problems, Table
from torsync.model.config_values import (
    show,
    to_age_s,
    to_apply_mode,
    to_boolean,
    to_clean_mode,
    to_feed_address,
    to_feed_url,
    to_file,
    to_header,
    to_interval_s,
    to_listen_address,
    to_locked_mode,
    to_max_delete,
    to_pattern,
    to_peer,
    to_piece_size,
    to_poll_url,
    to_public_key,
    to_rate,
    to_setting,
    to_settle_s,
    to_size_bytes,
    to_size_limit,
    to_text,
    to_torrent_format,
    to_tracker,
    to_tree,
    to_update_mode,
    to_web_seed,
)
from torsync.model.toml_lines import key_lines, parse_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_SESSION_DEFAULTS = SessionConfig()
_DEFAULTS = SubscriptionConfig(name="", url="", path=Path())
_PUBLICATION_DEFAULTS = PublicationConfig(name="", path=Path())
_MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def parse_config(
    text: str,
    *,
    source: str,
    home: str,
    environ: Mapping[str, str],
    setting_types: Mapping[str, type] | None = None,
    resolve: Callable[[str], str] = str,
    protected: tuple[str, ...] = (),
) -> Config:
    """Turn the text of a configuration file into values.

    Args:
        text: TOML.
        source: the file's name, for messages.
        home: the home folder: what ``~`` in a path stands for.
        environ: what ``$VAR`` and ``${VAR}`` in a path stand for (``$$`` is a dollar sign).
        setting_types: libtorrent's settings by name, with ``bool``, ``int`` or ``str``; None
            where the library was not asked.
        resolve: makes paths comparable; ``os.path.realpath`` where there is a disk.
        protected: paths that no tree may contain: the state directory, the configuration.

    Raises:
        ConfigError: with one problem for each thing to mend, in the order of the lines, each
            ``SOURCE:LINE: KEY: what was expected, what was found, what to do``.
    """
    problems = Problems(source, key_lines(text))
    root = Table((), parse_toml(text, source=source), problems)
    session = _read_session(root.table("session"), setting_types)
    subscriptions = {
        table.key[-1]: _read_subscription(table, home, environ)
        for table in root.table("subscriptions").tables()
    }
    publications = {
        table.key[-1]: _read_publication(table, home, environ)
        for table in root.table("publications").tables()
    }
    feed = _read_feed(root.table("feed"))
    service = _read_service(root.table("service"))
    notify = _read_notify(root.table("notify"))
    root.report_unknown()
    trees = [Owned(("subscriptions", s.name), s.path) for s in subscriptions.values()]
    trees += [Owned(("publications", p.name), p.path) for p in publications.values()]
    check_trees(trees, problems, home, resolve, protected)
    check_publications(publications.values(), subscriptions, feed, problems, resolve)
    problems.raise_if_any()
    return Config(session, subscriptions, publications, feed, service, notify)


def _read_session(table: Table, setting_types: Mapping[str, type] | None) -> SessionConfig:
    def setting(name: str, value: object) -> SettingValue:
        return to_setting(name, value, setting_types)

    session = SessionConfig(
        listen=table.items("listen", to_listen_address, _SESSION_DEFAULTS.listen),
        dht=table.value("dht", to_boolean, _SESSION_DEFAULTS.dht),
        lsd=table.value("lsd", to_boolean, _SESSION_DEFAULTS.lsd),
        upnp=table.value("upnp", to_boolean, _SESSION_DEFAULTS.upnp),
        download_limit=table.value("download_limit", to_rate, _SESSION_DEFAULTS.download_limit),
        upload_limit=table.value("upload_limit", to_rate, _SESSION_DEFAULTS.upload_limit),
        settings=table.table("settings").entries(setting),
    )
    table.report_unknown()
    return session


def _read_subscription(table: Table, home: str, environ: Mapping[str, str]) -> SubscriptionConfig:
    def tree(value: object) -> Path:
        return to_tree(value, home, environ)

    subscription = SubscriptionConfig(
        name=_checked_name(table),
        url=table.required("url", to_poll_url, _DEFAULTS.url, "https://HOST/NAME.torrent"),
        path=table.required("path", tree, _DEFAULTS.path, "/PATH/OF/A/FOLDER"),
        interval_s=table.value("interval", to_interval_s, _DEFAULTS.interval_s),
        update=table.value("update", to_update_mode, _DEFAULTS.update),
        apply=table.value("apply", to_apply_mode, _DEFAULTS.apply),
        on_locked=table.value("on_locked", to_locked_mode, _DEFAULTS.on_locked),
        clean=table.value("clean", to_clean_mode, _DEFAULTS.clean),
        keep=table.items("keep", to_pattern),
        select=table.items("select", to_pattern),
        peers=table.items("peers", to_peer),
        web_seeds=table.items("web_seeds", to_web_seed),
        headers=table.table("headers").entries(to_header),
        seed=table.value("seed", to_boolean, _DEFAULTS.seed),
        max_torrent_bytes=table.value(
            "max_torrent_size", to_size_bytes, _DEFAULTS.max_torrent_bytes
        ),
        max_delete=table.value("max_delete", to_max_delete, _DEFAULTS.max_delete),
        trash_age_s=table.value("trash", to_age_s, _DEFAULTS.trash_age_s),
        trash_limit=table.value("trash_size", to_size_limit, _DEFAULTS.trash_limit),
        public_keys=table.items("public_keys", to_public_key),
        before_update=table.value("before_update", to_command, ()),
        on_update=table.value("on_update", to_command, ()),
        on_error=table.value("on_error", to_command, ()),
        hook_timeout_s=table.value("hook_timeout", to_hook_timeout_s, _DEFAULTS.hook_timeout_s),
        update_window=table.value("update_window", to_update_window, None),
    )
    table.report_unknown()
    return subscription


def _read_publication(table: Table, home: str, environ: Mapping[str, str]) -> PublicationConfig:
    def tree(value: object) -> Path:
        return to_tree(value, home, environ)

    def file(value: object) -> Path | None:
        return to_file(value, home, environ)

    default = _PUBLICATION_DEFAULTS
    publication = PublicationConfig(
        name=_checked_name(table),
        path=table.required("path", tree, default.path, "/PATH/OF/A/FOLDER"),
        torrent=table.value("torrent", file, default.torrent),
        trackers=table.items("trackers", to_tracker),
        web_seeds=table.items("web_seeds", to_web_seed),
        format=table.value("format", to_torrent_format, default.format),
        piece_size=table.value("piece_size", to_piece_size, default.piece_size),
        ignore=table.items("ignore", to_pattern),
        comment=table.value("comment", to_text, default.comment),
        private=table.value("private", to_boolean, default.private),
        secret_key=table.value("secret_key", file, default.secret_key),
        watch=table.value("watch", to_boolean, default.watch),
        settle_s=table.value("settle", to_settle_s, default.settle_s),
        interval_s=table.value("interval", to_interval_s, default.interval_s),
        hints=table.value("hints", to_boolean, default.hints),
        super_seeding=table.value("super_seeding", to_boolean, default.super_seeding),
        snapshot=table.value("snapshot", to_boolean, default.snapshot),
        on_release=table.value("on_release", to_command, ()),
        on_error=table.value("on_error", to_command, ()),
        hook_timeout_s=table.value("hook_timeout", to_hook_timeout_s, default.hook_timeout_s),
        skip_unreadable=table.value("skip_unreadable", to_boolean, default.skip_unreadable),
    )
    table.report_unknown()
    return publication


def _read_feed(table: Table) -> FeedConfig:
    feed = FeedConfig(
        listen=table.value("listen", to_feed_address, None),
        url=table.value("url", to_feed_url, ""),
    )
    table.report_unknown()
    return feed


def _read_service(table: Table) -> ServiceConfig:
    service = ServiceConfig(
        control=table.value("control", to_control_address, ServiceConfig().control)
    )
    table.report_unknown()
    return service


def _read_notify(table: Table) -> NotifyConfig:
    notify = NotifyConfig(urls=table.items("urls", to_notify_url))
    table.report_unknown()
    return notify


def _checked_name(table: Table) -> str:
    name = table.key[-1]
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_CHARS:
        table.problems.add(
            table.key,
            f"expected a name of at most {_MAX_NAME_CHARS} letters, digits, dots, dashes and "
            f"underscores that begins with a letter or digit, found {show(name)}; rename it",
        )
    return name
