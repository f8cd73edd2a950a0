"""The platform's own sagas, on the jobs: one module for each kind.

provisioning  a provider makes a worker
execution     an orchestrated job is run by a worker
recovery      the job of a worker that was lost goes to another one
cancellation  a job is stopped, by asking first
timeout       a job that its worker does not end in time is ended
cleanup       what a worker that has ended left behind is removed
"""

from __future__ import annotations

from sagas.builtin import cancellation, cleanup, execution, provisioning, recovery, timeout

__all__ = ["cancellation", "cleanup", "execution", "provisioning", "recovery", "timeout"]
