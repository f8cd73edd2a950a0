"""An agent at work in a thread, while a test looks on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections


@contextmanager
def at_work(
    run: Callable[[], object],
    stop: Callable[[], object],
    release: Callable[[], object] = lambda: None,
) -> Iterator[threading.Thread]:
    """``run`` in a thread until the block ends, and then ``stop``; ``release``, which lets go of
    what it waits for, comes once it has ended or half a minute has passed."""

    def work() -> None:
        try:
            run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        stop()
        thread.join(30)
        release()
        assert not thread.is_alive()
