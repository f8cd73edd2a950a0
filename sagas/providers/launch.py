"""``python -m sagas.providers.launch LOCK FOLDER KEY PROGRAM ARGUMENT...``: be a worker process.

It notes who it is before it becomes the program, so whoever started it may die at any moment. It
was given the lock of the key by whoever started it (its descriptor is the first argument), and has
it as long as it lives: nobody else is started under the key, and nobody who is still to start can
be overlooked by whoever is to end it.
"""

from __future__ import annotations

import os
import sys

from sagas.providers import pidfile


def main(words: list[str]) -> None:
    lock, folder, key, *program = words
    os.set_inheritable(int(lock), True)  # noqa: FBT003  (os takes it so)
    pidfile.note(folder, key)
    os.execv(program[0], program)  # noqa: S606  (the process itself becomes the worker)


if __name__ == "__main__":
    main(sys.argv[1:])
