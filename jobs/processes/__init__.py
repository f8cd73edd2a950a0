"""Programs that jobs run: what to run, running it, and ending all of it, whatever happens to us.

- ``invocation``  pure: a spec as a program with its arguments, and what can never be run
- ``program``     one running program: its streams, its group, its end
- ``guard``       ends what a worker ran when the worker is gone
- ``watcher``     the guard's own process
"""

from __future__ import annotations
