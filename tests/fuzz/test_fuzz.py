"""The fuzzer finds what is there to find; every kept input still runs; and a seeded run over all targets, of a minute."""

from __future__ import annotations

import pytest

from tests.fuzz.engine import MAX_SIZE, Crash, Fuzzer, distil, shrink
from tests.fuzz.targets import TARGETS, corpus_of

pytestmark = pytest.mark.once

EXECUTIONS = {"connection": 2500, "frames": 1000, "config": 6000, "ext-image": 150, "squashfs": 250, "tar": 250}
"""Inputs of the usual run, of a minute in all; `WIRE` for a wire parser."""
WIRE = 1600

PLANTED = """
def target(data):
    if len(data) > 3:
        if data[0] == 0x7F:
            if data[1] == 0x80:
                if data[2] == 0xFF:
                    raise ValueError("found")
"""


def planted():
    names: dict[str, object] = {}
    exec(compile(PLANTED, "/somewhere/rumpkit/planted.py", "exec"), names)
    return names["target"]


def test_coverage_leads_to_what_chance_would_not_find():
    fuzzer = Fuzzer(planted(), [bytes(4)], 1)
    with pytest.raises(Crash) as caught:
        fuzzer.run(executions=50_000)
    fuzzer.close()
    assert isinstance(caught.value.cause, ValueError)
    small = shrink(planted(), caught.value.data + bytes(50), ValueError)
    assert small[:3] == b"\x7f\x80\xff" and len(small) == 4


def test_the_same_seed_gives_the_same_run():
    corpora = []
    for seed in (1, 1, 2):
        fuzzer = Fuzzer(TARGETS["wire-dns"][0], TARGETS["wire-dns"][1], seed)
        fuzzer.run(executions=200)
        fuzzer.close()
        corpora.append((fuzzer.corpus, fuzzer.random.random()))
    assert corpora[0] == corpora[1] != corpora[2]


def test_a_corpus_is_distilled_to_what_counts():
    kept = distil(planted(), [bytes(9), bytes(4), b"\x7f\0\0\0", b"\x7f\0\0\0\0", b"\x7f\x80\0\0"])
    assert kept == [bytes(4), b"\x7f\0\0\0", b"\x7f\x80\0\0"]


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_run(name):
    target = TARGETS[name][0]
    for data in corpus_of(name):
        assert len(data) <= MAX_SIZE
        target(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_seeded_run(name):
    fuzzer = Fuzzer(TARGETS[name][0], corpus_of(name), 20)
    try:
        fuzzer.run(executions=EXECUTIONS.get(name, WIRE))
    finally:
        fuzzer.close()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TARGETS)
def test_a_run_by_the_clock(name):
    """The three large targets have most of it."""
    fuzzer = Fuzzer(TARGETS[name][0], corpus_of(name), 30)
    try:
        fuzzer.run(seconds=60 if name in EXECUTIONS else 5)
    finally:
        fuzzer.close()
