"""Blocking streams read by a thread of their own, never by an executor that others wait for."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
MAX_QUEUED = 512  # items, and one batch more; a reader that falls behind holds the thread, not the memory


class Stream(Protocol[T_co]):
    """What a thread reads. `close` comes from another thread and must free a reader that waits."""

    def __iter__(self) -> Iterator[Sequence[T_co]]: ...

    def close(self) -> None: ...


async def from_thread(open_stream: Callable[[], Stream[T]]) -> AsyncGenerator[Sequence[T], None]:
    """
    The items of `open_stream()`, read in a daemon thread, in batches: all that is there
    at each wake-up. Whatever it raises is raised here, after the items before it.
    Closing the generator closes the stream, which frees the thread.
    """
    reader = _Reader(open_stream, asyncio.get_running_loop())
    threading.Thread(target=reader.run, name="driver-stream", daemon=True).start()
    try:
        while True:
            await reader.has_news.wait()
            batch, is_over, error = reader.take()
            if batch:
                yield batch
            if error is not None:
                raise error
            if is_over:
                return
    finally:
        reader.close()


class _Reader(Generic[T]):
    """The thread's side and the loop's side of one stream."""

    def __init__(self, open_stream: Callable[[], Stream[T]], loop: asyncio.AbstractEventLoop) -> None:
        self._open, self._loop = open_stream, loop
        self.has_news = asyncio.Event()
        self._lock = threading.Condition()
        # All below under the lock.
        self._items: list[T] = []
        self._stream: Stream[T] | None = None
        self._error: Exception | None = None
        self._is_over = self._is_closed = self._is_woken = False

    def run(self) -> None:
        try:
            stream = self._open()
            with self._lock:
                self._stream = stream
                if self._is_closed:  # nobody waited for it
                    stream.close()
                    return
            for items in stream:
                with self._lock:
                    self._lock.wait_for(lambda: self._is_closed or len(self._items) < MAX_QUEUED)
                    if self._is_closed:
                        return
                    self._items += items
                    self._wake()
            self._end(None)
        except Exception as error:  # carried over to the reader, who knows what it means
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        with self._lock:
            self._is_over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        """Once until the items are taken, not once per item."""
        if not self._is_woken and not self._is_closed:
            self._is_woken = True
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self.has_news.set)

    def take(self) -> tuple[Sequence[T], bool, Exception | None]:
        with self._lock:
            batch, self._items = self._items, []
            self._is_woken = False
            self.has_news.clear()
            self._lock.notify_all()
            return batch, self._is_over, self._error

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
            if self._stream is not None and not self._is_over:
                self._stream.close()
