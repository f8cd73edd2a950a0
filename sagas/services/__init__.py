"""What is done with sagas: start them, decide about them, look at them.

Each function runs on Django's connection and joins the caller's transaction.
"""

from __future__ import annotations
