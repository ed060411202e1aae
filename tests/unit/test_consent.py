"""An update that has to wait: who is told of it, and what is done meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from torsync.model.config import SubscriptionConfig, UpdateMode
from torsync.model.errors import PostponedError
from torsync.model.events import Event, Notice, Stage
from torsync.model.orders import Terms
from torsync.model.reports import CheckReport
from torsync.model.window import DailyWindow
from torsync.subscribe.asking import Asking, Superseded
from torsync.subscribe.consent import Consent, idle_stage
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import NoHooks, Surroundings, Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOUR_S = 3600.0
NIGHT = DailyWindow(2 * 3600, 5 * 3600)


@dataclass(frozen=True)
class FakeManifest:
    name: str
    info_hash: str


@dataclass(frozen=True)
class FakeRelease:
    """A release, of which nothing but its name and digest matters."""

    digest: str

    @property
    def manifest(self) -> FakeManifest:
        return FakeManifest(self.digest, self.digest)

    def is_same_content(self, other: FakeRelease) -> bool:
        return self == other


OLD, NEW, NEWER = FakeRelease("old"), FakeRelease("new"), FakeRelease("newer")


@dataclass
class Hooks(NoHooks):
    """A command that may refuse, and that hears of updates."""

    refusals: list[PostponedError] = field(default_factory=list)
    updates: list[CheckReport] = field(default_factory=list)

    def before_update(self, config: SubscriptionConfig, report: CheckReport) -> None:  # noqa: ARG002
        if self.refusals:
            raise self.refusals.pop(0)

    def updated(self, config: SubscriptionConfig, report: CheckReport) -> None:  # noqa: ARG002
        self.updates.append(report)


class Site:
    """A tree that has the old release, at an hour that the test decides."""

    def __init__(self, folder: Path) -> None:
        self.state = TreeState(folder / "state")
        self.hour = 12.0
        self.is_automatic = True
        self.hooks = Hooks()
        self.events: list[Event] = []
        self.voice = Voice("pack", self.events.append)
        self.config = SubscriptionConfig(
            "pack", "http://h/", folder, update_window=NIGHT, update=UpdateMode.ASK
        )
        around = Surroundings(
            pool=lambda: cast("Any", None),
            sink=self.events.append,
            stopping=lambda: False,
            wait=lambda _seconds: False,
            now_s=lambda: self.hour * HOUR_S,
            day_s=lambda now_s: now_s % (24 * HOUR_S),
            terms=lambda: Terms(automatic=self.is_automatic),
            hooks=self.hooks,
        )
        releases = cast("Any", self)
        self.consent = Consent(self.config, self.state, releases, around, self.voice)
        self.glances: list[FakeRelease] = []
        self.asking = Asking(
            self.config,
            self.state,
            releases,
            self.voice,
            glance=cast("Any", self.glances.append),
            on_mended=lambda _report: None,
        )

    def synced(self) -> FakeRelease:
        return OLD

    def hold_back(
        self, *, bring_to: Any, look_out: Callable[[], None] = lambda: None, mends: bool = True
    ) -> None:
        self.consent.hold_back(
            cast("Any", NEW), needs_mending=lambda _one: mends, bring_to=bring_to, look_out=look_out
        )

    def codes(self) -> list[str]:
        return [one.code for one in self.events if isinstance(one, Notice)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.state.close()


class TestHours:
    def test_nothing_is_mended_that_is_as_it_should_be(self, site: Site) -> None:
        def bring_to(*_arguments: object, **_options: object) -> CheckReport:
            raise AssertionError("the tree was not to be looked at")

        with pytest.raises(PostponedError, match="in 14 h"):
            site.hold_back(bring_to=bring_to, mends=False)
        assert site.codes() == ["postponed"]

    def test_a_look_that_finds_nothing_to_mend_is_not_told(self, site: Site) -> None:
        looked: list[str] = []

        def bring_to(release: FakeRelease, *, look_out: Any, every_s: float) -> CheckReport:
            assert (release, every_s > 0) == (OLD, True)
            look_out()
            return CheckReport("pack")

        with pytest.raises(PostponedError):
            site.hold_back(bring_to=bring_to, look_out=lambda: looked.append("newer?"))
        assert looked == ["newer?"], "it is looked out for newer releases, too"
        assert (site.codes(), site.hooks.updates) == (["postponed"], [])

    def test_what_was_mended_is_told(self, site: Site) -> None:
        mended = CheckReport("pack", changed=True, fetched=["a"])
        with pytest.raises(PostponedError):
            site.hold_back(bring_to=lambda *_, **__: mended)
        assert site.codes() == ["postponed", "mended"]
        assert site.hooks.updates == [mended]

    def test_mending_ends_when_the_hours_begin(self, site: Site) -> None:
        def bring_to(_release: FakeRelease, *, look_out: Any, every_s: float) -> CheckReport:
            site.hour = 26
            look_out()
            raise AssertionError(f"it goes on, every {every_s} s")

        with pytest.raises(Superseded) as caught:
            site.hold_back(bring_to=bring_to)
        assert caught.value.release is cast("Any", NEW)


class TestCommand:
    def test_who_waits_for_the_answer_is_told_by_it_alone(self, site: Site) -> None:
        site.is_automatic = False
        site.hooks.refusals.append(PostponedError("somebody plays", reason="a game runs"))
        with pytest.raises(PostponedError, match="somebody plays"):
            site.consent.ask(cast("Any", NEW), CheckReport("pack", changed=True))
        assert site.codes() == []
        assert idle_stage(site.consent, Stage.WAITING) == (Stage.POSTPONED, "a game runs")
        assert "a game runs" in site.state.get("postponed")

    def test_of_one_release_and_cause_a_person_hears_once(self, site: Site) -> None:
        for release, reason in [(NEW, "a"), (NEW, "a"), (NEW, "b"), (NEWER, "b")]:
            site.hooks.refusals.append(PostponedError("no", reason=reason))
            with pytest.raises(PostponedError):
                site.consent.ask(cast("Any", release), CheckReport("pack", changed=True))
        assert site.codes() == ["postponed", "postponed"]
        site.consent.settle()
        assert idle_stage(site.consent, Stage.WAITING) == (Stage.WAITING, "")
        assert site.state.get("postponed") == ""

    def test_it_is_not_asked_if_nothing_would_change(self, site: Site) -> None:
        site.hooks.refusals.append(PostponedError("no"))
        site.consent.ask(cast("Any", NEW), CheckReport("pack"))
        assert site.hooks.refusals, "it was not asked"


class TestAsking:
    """``update = "ask"``."""

    def hold_back(self, site: Site, bring_to: Any, preview: Any = None) -> CheckReport:
        would_change = CheckReport("pack", changed=True, dry_run=True)
        return site.asking.hold_back(
            cast("Any", NEW), preview=preview or (lambda _one: would_change), bring_to=bring_to
        )

    def test_a_release_that_changes_no_file_is_taken_as_it_is(self, site: Site) -> None:
        taken: list[FakeRelease] = []

        def bring_to(release: FakeRelease) -> CheckReport:
            taken.append(release)
            return CheckReport("pack")

        self.hold_back(site, bring_to, lambda _one: CheckReport("pack", dry_run=True))
        assert taken == [NEW]
        assert site.codes() == []
        assert site.asking.idle_stage is Stage.WAITING

    def test_what_cannot_be_read_may_be_a_change(self, site: Site) -> None:
        preview = CheckReport("pack", dry_run=True, unreadable=["closed"])
        report = self.hold_back(site, lambda *_, **__: CheckReport("pack"), lambda _one: preview)
        assert report is preview
        assert site.asking.idle_stage is Stage.NEEDS_APPROVAL

    def test_a_person_is_told_once_and_what_is_mended_is_counted(self, site: Site) -> None:
        mended = CheckReport("pack", changed=True, bytes_fetched=7, bytes_hashed=3)
        previews = iter([CheckReport("pack", changed=True), CheckReport("pack", bytes_hashed=2)])
        report = self.hold_back(site, lambda *_, **__: mended, lambda _one: next(previews))
        assert (report.bytes_fetched, report.bytes_hashed) == (7, 5)
        again = self.hold_back(site, lambda *_, **__: CheckReport("pack"), lambda _one: 1 / 0)
        assert again is report, "it is not looked at again"
        assert site.codes() == ["needs_approval", "mended"]

    def test_mending_ends_with_the_approval_and_looks_for_newer_releases(self, site: Site) -> None:
        site.asking._config = cast("Any", _Impatient())

        def bring_to(_release: FakeRelease, *, look_out: Any, every_s: float) -> CheckReport:
            look_out()
            site.asking.approve(cast("Any", NEW), frozenset())
            look_out()
            raise AssertionError(f"it goes on, every {every_s} s")

        with pytest.raises(Superseded):
            self.hold_back(site, bring_to)
        assert site.glances == [NEW]

    def test_an_approval_of_what_was_superseded_is_void(self, site: Site) -> None:
        site.asking.approve(cast("Any", NEW), frozenset())
        assert not site.asking.needs_approval(cast("Any", NEW))
        assert site.asking.take(cast("Any", NEW))
        assert not site.asking.take(cast("Any", NEWER))
        assert site.asking.needs_approval(cast("Any", NEW))
        assert not site.asking.needs_approval(cast("Any", OLD)), "it is in place"


class _Impatient:
    """A configuration that has it polled all the time."""

    name = "pack"
    interval_s = -1.0
