"""Series of steps, each with its compensation, that survive a crash anywhere.

A saga goes forward step by step; when one fails, the finished ones are compensated in reverse.
Every step is stored before and after it acts, so any runner can go on where another one died.

States and their transitions: ``sagas.states``. Tables: ``sagas.models``.
"""

from __future__ import annotations
