"""What every test shares: named skips that are counted, the long tests, hypothesis profiles, and the form under test.

A test says what it needs of the machine, and is skipped by that name where it is missing:

    @pytest.mark.needs("nginx", "tap", "root")
    def test_nginx_over_a_tap(): ...

A name is a resource of `tests/house/resources.py` (root, tap, netns, userns, seccomp, fuse, ipv6, native, ...) or else
a program on the PATH. The run ends with a list of what was missing and how many tests that cost. This file is also
loaded under Pyodide, where most of that is missing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.house import resources

MISSING = "missing: "
REAL = ("cli", "clients", "guests", "hosts", "system")
"""Folders of tests with real processes, kernels and clocks in them: a failed one gets a second try when the others are done, which the
summary names and tools/run_tests.py limits. All others fail at once."""
_FIRST_TRIES = pytest.StashKey[dict[pytest.Item, list[pytest.TestReport]]]()
"""What failed and has a second try before it, and how it failed."""
_AGAIN = pytest.StashKey[dict[str, str]]()
_LONG = pytest.StashKey[int]()
_DONE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
_LEFT_OUT_BY_WORKERS: list[int] = []
_AGAIN_IN_WORKERS: dict[str, str] = {}
_BEGUN: dict[str, None] = {}
"""What has begun and not been reported of: at the end those whose first try failed in a process that ended before their second had."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long."""
    parser.addoption("--long", action="store_true", help="run the tests marked long, too")


def pytest_configure(config: pytest.Config) -> None:
    """Check that the form under test is the one that was asked for, and set hypothesis up."""
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout(seconds): the limit of this test, where pytest-timeout is there")
    wanted = os.environ.get("RUMPKIT_EXPECT_FORM")
    if wanted and resources.form() != wanted:
        raise pytest.UsageError(f"the {wanted} form should be tested, but rumpkit is {resources.form()}: {_where()}")
    if wanted == "native" and "site-packages" not in Path(_where()).parts:
        raise pytest.UsageError(f"the native form should come from an installed wheel, not from {_where()}")
    _listen_to_signals()
    _keep_apart(config)
    _configure_hypothesis(config.getoption("--long"))


def _listen_to_signals() -> None:
    """Undo what `nohup make test &` ignores, and programs under test would inherit; a hang-up still ends nothing here."""
    handlers: dict[str, Any] = {
        "SIGINT": signal.default_int_handler,
        "SIGQUIT": signal.SIG_DFL,
        "SIGHUP": lambda number, frame: None,
    }
    for name, handler in handlers.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def _keep_apart(config: pytest.Config) -> None:
    """The tests' kernels are found by the tests of this process only, and find none of the user's (clients/control/place.py)."""
    folder = tempfile.TemporaryDirectory(prefix="rumpkit-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["RUMPKIT_RUNTIME_DIR"] = folder.name


def _configure_hypothesis(long: bool) -> None:
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:
        return
    slow = [HealthCheck.too_slow]
    # The normal run draws the same examples each time: what it says of a change is about that change.
    settings.register_profile("test", deadline=None, derandomize=True, suppress_health_check=slow, max_examples=50)
    settings.register_profile(
        "long", deadline=None, print_blob=True, suppress_health_check=slow, max_examples=1000, database=None
    )
    settings.load_profile("long" if long else "test")


def _where() -> str:
    import rumpkit._form

    return str(rumpkit._form.__file__)


def pytest_report_header() -> str:
    """Name the form under test."""
    return f"rumpkit: {resources.form()} form, {_where()}; RUMPKIT_DEBUG={os.environ.get('RUMPKIT_DEBUG', '')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for, and what the interpreted run has done already."""
    unwanted = set()
    if not config.getoption("--long") and not config.getoption("markexpr"):
        unwanted.add("long")
    if os.environ.get("RUMPKIT_EXPECT_FORM") == "native":
        unwanted.add("once")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unwanted)]
    config.stash[_LONG] = sum(1 for item in left_out if item.get_closest_marker("long"))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test; if it is one of REAL and fails, keep that to ourselves: what broke it is often the load beside it."""
    if item.nodeid.split("/")[1] not in REAL:
        return None
    waiting = item.config.stash.setdefault(_FIRST_TRIES, {})
    first = waiting.pop(item, [])
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    # None where the first failure is to end it all, and none that is skipped.
    if first and any(report.skipped for report in reports):
        reports = first
    elif not first and any(report.failed for report in reports) and not item.config.getoption("maxfail"):
        waiting[item] = reports
        reports = []
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run all tests; then those once more that failed and may try again."""
    waiting = session.config.stash.setdefault(_FIRST_TRIES, {})
    try:
        result = yield
    except BaseException:
        for item, reports in waiting.items():
            _report_for(item)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
        raise
    for item, reports in list(waiting.items()):
        failure = next(report for report in reports if report.failed)
        last = failure.longreprtext.strip().rpartition("\n")[2]
        session.config.stash.setdefault(_AGAIN, {})[item.nodeid] = f"{failure.when}: {last}"
        _report_for(item)
        item._initrequest()  # type: ignore[attr-defined]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    return result


def _report_for(item: pytest.Item) -> None:
    """Where xdist runs the tests, it takes reports only for the test that it has given out last: let this be that."""
    for plugin in item.config.pluginmanager.get_plugins():
        if hasattr(plugin, "item_index"):
            plugin.item_index = item.session.items.index(item)


def _left_out(config: pytest.Config) -> int:
    """How many long tests this process has left out."""
    return config.stash.get(_LONG, 0)


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins, here or in another process."""
    _BEGUN[nodeid] = None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """There is word of it."""
    _BEGUN.pop(report.nodeid, None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where several processes run the tests, each of which collects them all: tell how many were left out, and what had a second try.
    A run that has lost a test has failed."""
    told = getattr(session.config, "workeroutput", None)
    if session.shouldstop or session.shouldfail or session.exitstatus not in _DONE:
        _BEGUN.clear()  # they were cut short
    if told is None and _BEGUN:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if told is not None:
        told["long"] = _left_out(session.config)
        told["again"] = session.config.stash.get(_AGAIN, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of those processes has ended."""
    told = getattr(node, "workeroutput", {})
    _LEFT_OUT_BY_WORKERS.append(told.get("long", 0))
    _AGAIN_IN_WORKERS.update(told.get("again", {}))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose needs are not met, naming them all."""
    missing: list[str] = []
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            reason = resources.why_missing(name)
            if reason is not None:
                missing.append(f"{name} ({reason})" if reason else name)
    if missing:
        pytest.skip(MISSING + ", ".join(dict.fromkeys(missing)))


@pytest.fixture
def needs() -> Any:
    """Return a function that skips the running test if a resource is missing, for needs known only at run time."""

    def need(*names: str) -> None:
        for name in names:
            reason = resources.why_missing(name)
            if reason is not None:
                pytest.skip(f"{MISSING}{name} ({reason})" if reason else MISSING + name)

    return need


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was missing and how many tests that cost; leave the counts for tools/run_tests.py."""
    stats = terminalreporter.stats
    missing: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for reason in _skip_reasons(stats.get("skipped", [])):
        if reason.startswith(MISSING):
            missing.update(reason.removeprefix(MISSING).split(", "))
        else:
            others[reason] += 1
    long = max(_left_out(config), *_LEFT_OUT_BY_WORKERS, 0)
    for name, count in sorted(missing.items()):
        terminalreporter.write_line(f"skipped because missing: {name}: {_tests(count)}")
    for name, count in sorted(others.items()):
        terminalreporter.write_line(f"skipped: {name}: {_tests(count)}")
    again = config.stash.get(_AGAIN, {}) | _AGAIN_IN_WORKERS
    for name, why in again.items():
        terminalreporter.write_line(f"needed a second try: {name}: {why}")
    for name in _BEGUN:
        terminalreporter.write_line(f"lost, as a process ended before it could tell: {name}")
    if long:
        terminalreporter.write_line(f"left for make test-all: {_tests(long)} marked long")
    tally = os.environ.get("RUMPKIT_TEST_TALLY")
    if tally:
        counts = {
            key: len(stats.get(key, [])) for key in ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
        }
        counts["error"] += len(_BEGUN)
        Path(tally).write_text(json.dumps({"counts": counts, "missing": missing, "long": long, "again": list(again)}))


def _skip_reasons(reports: list[Any]) -> Iterator[str]:
    for report in reports:
        longrepr = report.longrepr
        text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        yield text.removeprefix("Skipped: ")


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


if sys.platform == "emscripten":
    collect_ignore = ["system", "house", "fuzz"]
