"""Log files: what was appended is read back, by offset and by time, also after a crash in the middle."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.runtime.model import LogEntry
from homeport.server.store.log_files import LogFiles, Tail

KEY = ("job-abcd-0-abcd", 1)
NS = 1_700_000_000_000_000_000
texts = st.binary(max_size=40).filter(lambda t: b"\n" not in t and b"\r" not in t)
entries = st.lists(st.tuples(st.integers(0, 50), texts, st.booleans()), max_size=60)


def filled(folder: Path, given_entries: list[tuple[int, bytes, bool]], batch: int = 7) -> LogFiles:
    files, tail = LogFiles(folder), Tail()
    made = [LogEntry(NS + at, text + (b"\n" if ends else b"")) for at, text, ends in given_entries]
    for start in range(0, len(made), batch):
        tail = files.append(KEY, made[start : start + batch], tail)
    return files


@given(entries)
def test_every_byte_is_read_once_by_offset(tmp_path_factory: pytest.TempPathFactory, given_entries) -> None:
    files = filled(tmp_path_factory.mktemp("logs"), given_entries)
    whole, offset = b"", 0
    while True:
        data, offset = files.read(KEY, offset)
        if not data:
            break
        whole += data
    assert whole == b"".join(text + (b"\n" if ends else b"") for _, text, ends in given_entries)


@given(entries, st.integers(0, 60), st.integers(0, 60))
def test_lines_of_a_span_are_those_whose_first_part_lies_in_it(
    tmp_path_factory: pytest.TempPathFactory, given_entries, start: int, length: int
) -> None:
    files = filled(tmp_path_factory.mktemp("logs"), given_entries)
    everything = list(files.lines(KEY, 0, NS * 2))
    times = [at for at, _ in everything]
    assert times == sorted(set(times))
    span = (NS + start, NS + start + length)
    expected = [(at, line) for at, line in everything if span[0] <= at < span[1]]
    assert list(files.lines(KEY, *span)) == expected


def test_half_an_entry_that_a_crash_left_is_cut_off(tmp_path: Path) -> None:
    files = filled(tmp_path, [(1, b"one", True), (2, b"two", True)])
    draft = next(tmp_path.glob("*.part"))
    draft.write_bytes(draft.read_bytes()[:-2])
    tail = files.tail(KEY)
    assert tail.entries == 1
    files.append(KEY, [LogEntry(NS + 2, b"two\n")], tail)
    assert files.read(KEY, 0)[0] == b"one\ntwo\n"


def test_sealed_log_is_complete_and_wakes_its_followers(tmp_path: Path) -> None:
    async def body() -> None:
        files = filled(tmp_path, [(1, b"one", True)])
        growth = files.growth(KEY)
        assert not files.is_sealed(KEY)
        await files.seal(KEY)
        assert files.is_sealed(KEY)
        assert growth.is_set()
        assert files.read(KEY, 0)[0] == b"one\n"

    asyncio.run(body())
