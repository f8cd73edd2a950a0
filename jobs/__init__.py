"""Units of work in the application's own PostgreSQL: jobs, their queue, workers and providers.

A job waits in a narrow ready queue (or, until it is due, beside it), is claimed under a lease by a
worker, runs, and ends in a final state; what happened is in the audit and in its log file.

States and their transitions: ``jobs.states``. Tables: ``jobs.models``.
"""

from __future__ import annotations
