"""One event loop in a thread of its own, for the async tasks of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that tasks which somebody has left behind have to end.
PATIENCE = 5.0


async def _close_connections() -> None:
    """Those of the thread in which sync code of async tasks runs."""
    await sync_to_async(connections.close_all)()


class LoopThread:
    """Started with the first coroutine; ``run`` is called from many threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._started()).result()

    def close(self) -> None:
        """Cancel what is left, and end."""
        with self._mutex:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        closing = asyncio.run_coroutine_threadsafe(_close_connections(), loop)
        with contextlib.suppress(TimeoutError):
            closing.result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        if thread.is_alive():
            logger.warning("the event loop does not end: something in it does not return")

    def _is_over(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether ``close`` was called: what a task stops goes on."""
        with self._mutex:
            return self._loop is not loop

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._mutex:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=[self._loop], name="jobs event loop", daemon=True
                )
                self._thread.start()
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._is_over(loop):
                try:
                    loop.run_forever()
                except BaseException:
                    # sys.exit() in what a task has left behind, which asyncio lets through. The
                    # others wait for this loop.
                    logger.exception("something in the event loop was to end it")
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=PATIENCE / 2))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
