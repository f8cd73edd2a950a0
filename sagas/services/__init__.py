"""What is done with sagas: start them, decide about them, look at them.

- ``start``       start one, in the caller's transaction
- ``actions``     what people decide about them
- ``inspection``  look at them
- ``locks``       resources that one of them holds
- ``retention``   delete what ended long ago

Each function runs on Django's connection and joins the caller's transaction.
"""

from __future__ import annotations
