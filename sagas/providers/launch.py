"""``python -m sagas.providers.launch FOLDER KEY PROGRAM ARGUMENT...``: become a worker process.

It notes who it is before it becomes the program, so whoever started it may die at any moment. It
ends with 0, and starts nothing, where a process of this key lives.
"""

from __future__ import annotations

import os
import sys

from sagas.providers import pidfile


def main(words: list[str]) -> None:
    folder, key, *program = words
    if pidfile.take(folder, key):
        os.execv(program[0], program)  # noqa: S606  (the process itself becomes the worker)


if __name__ == "__main__":
    main(sys.argv[1:])
