"""Blocking streams read by a thread of their own, never by an executor that others wait for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

MAX_QUEUED = 256  # chunks; a reader that falls behind holds the thread, not the memory


async def from_thread(
    open_stream: Callable[[], Iterator[bytes]], close_stream: Callable[[Any], None]
) -> AsyncIterator[bytes]:
    """
    Chunks of `open_stream()`, read in a daemon thread. Whatever it raises is raised here.
    Closing the generator closes the stream, which frees the thread.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(MAX_QUEUED)
    is_closed = threading.Event()
    opened: list[Any] = []

    def put(item: bytes | BaseException | None) -> None:
        if not is_closed.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            stream = open_stream()
            opened.append(stream)
            for chunk in stream:
                room.acquire()
                if is_closed.is_set():
                    break
                put(chunk)
            put(None)
        except Exception as error:  # carried over to the reader, who knows what it means
            put(error)

    threading.Thread(target=read, name="driver-stream", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        is_closed.set()
        room.release()
        for stream in opened:
            close_stream(stream)
