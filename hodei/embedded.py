"""The command line of the embedded PostgreSQL: ``python -m hodei.embedded``.

It needs no settings and no Django command, so it works when the project does not.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import environ

from hodei.db.embedded import binaries, folders, postmaster, server, session, upgrade
from hodei.db.embedded.account import account_of
from hodei.db.embedded.binaries import Binaries
from hodei.db.embedded.environment import client_of
from hodei.db.embedded.errors import EmbeddedError
from hodei.db.embedded.location import Location, locate

PROJECT = Path(__file__).resolve().parent.parent

DESCRIPTION = """\
Hodei runs a private PostgreSQL of its own while DATABASE_URL is not set. It starts by itself with
the first connection and stops with the last process that uses it; these commands are for looking
into it, keeping it running, and taking its data elsewhere.
"""

EPILOG = """\
examples:
  python -m hodei.embedded status                  is it running, and where
  python -m hodei.embedded psql                    a prompt for SQL
  python -m hodei.embedded psql -c 'select 1'      one statement
  python -m hodei.embedded dump backup.sql         all data, as SQL
  psql postgresql://USER@HOST/NAME -f backup.sql   into a PostgreSQL of your own

exit codes: 0 fine, 1 not running (status), 2 wrong usage, 3 the server could not be used;
psql ends with the code of psql itself.
"""

#: As a shell has it of a program that SIGINT ended, or SIGPIPE.
INTERRUPTED, NOBODY_READS = 130, 141
#: Arguments with which psql needs no server.
ASKING_PSQL = (["--help"], ["-?"], ["--version"], ["-V"])


def directory_from(values: os._Environ[str]) -> Path:
    """The folder that settings use: HODEI_EMBEDDED_DIR, else .hodei/pg beside the package."""
    environ.Env.read_env(PROJECT / ".env")
    return Path(values.get("HODEI_EMBEDDED_DIR") or PROJECT / ".hodei" / "pg")


def start(location: Location, _: argparse.Namespace) -> int:
    ran = postmaster.alive(location)
    session.ensure(location.directory, told=False)
    # Written while this process is a user, so that no last user is stopping the server just now.
    location.keep.touch()
    account_of(location).own(location.keep)
    state = "was running and stays" if ran else "is running"
    _print(f"The embedded PostgreSQL {state}, until: python -m hodei.embedded stop")
    _print(location.url())
    return 0


def stop(location: Location, _: argparse.Namespace) -> int:
    used = session.is_used(location)
    location.keep.unlink(missing_ok=True)
    if not server.stop(location):
        _print("The embedded PostgreSQL is not running.")
        return 0
    _print("The embedded PostgreSQL is stopped.")
    if used:
        _print("Processes were using it: the next connection of one of them starts it again.")
    return 0


def status(location: Location, _: argparse.Namespace) -> int:
    running = postmaster.alive(location)
    found = postmaster.of(location) if running else None
    facts = {
        "state": f"running (process {found.pid})" if found else "running" if running else "stopped",
        "version": _version(location),
        "data": str(location.data),
        "size": _size(location.data),
        "socket": str(location.socket),
        "url": location.url(),
        "log": str(location.log),
        "ends": "when told to stop" if location.keep.exists() else "with the last process using it",
    }
    if location.relocated:
        facts["because"] = f"the service user cannot enter {location.closed}"
    for name, value in facts.items():
        _print(f"{name:<8} {value}")
    return 0 if running else 1


def psql(location: Location, options: argparse.Namespace) -> int:
    """Run the bundled psql as a child, so that this process stays a user of the server."""
    if options.arguments not in ASKING_PSQL:
        session.ensure(location.directory, told=False)
    # A Ctrl-C is for psql, which cancels its query.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    words = [binaries.default().program("psql"), *options.arguments]
    return subprocess.run(words, env=client_of(location), check=False).returncode  # noqa: S603


def dump(location: Location, options: argparse.Namespace) -> int:
    # A link stays one; and a device or a pipe, which the file would replace, stays what it is.
    file = None if options.file is None else options.file.resolve()
    if file is not None and file.exists() and not file.is_file():
        raise EmbeddedError(f"{options.file} cannot be written (it is no regular file).")
    programs = _binaries_for(location)
    session.ensure(location.directory, told=False, binaries=programs)
    words = [programs.program("pg_dump"), "--no-owner", "--no-privileges"]
    if file is None:
        return subprocess.run(words, env=client_of(location), check=False).returncode  # noqa: S603
    # The file is there when it is whole, and it is the owner's alone from its first byte.
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as target:
            done = subprocess.run(  # noqa: S603
                words, env=client_of(location), stdout=target, check=False
            )
        if done.returncode:
            return done.returncode
        partial.replace(file)
    except OSError as error:
        raise EmbeddedError(f"{options.file} cannot be written ({error.strerror}).") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    _print(f"The data is in {options.file} ({file.stat().st_size:,} bytes).")
    return 0


def _binaries_for(location: Location) -> Binaries:
    """The programs of the version that made the data, which alone can dump it."""
    found = upgrade.major_of(location.data)
    programs = binaries.bundled()
    if found is None or (programs and programs[0].major == found):
        return binaries.default()
    old = binaries.of_major(found)
    if old is None:
        raise upgrade.other_major(location, found, binaries.default())
    return old


def _version(location: Location) -> str:
    made_by = upgrade.major_of(location.data)
    programs = binaries.bundled()
    installed = f"PostgreSQL {programs[0].version}" if programs else "none (hodei[embedded])"
    if made_by is None:
        return f"no data yet; programs: {installed}"
    return f"data of PostgreSQL {made_by}; programs: {installed}"


def _size(data: Path) -> str:
    total = 0
    for folder, _, files in os.walk(data):
        for name in files:
            try:
                total += Path(folder, name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue  # The server removes files while we look.
    return f"{total / 1e6:.1f} MB"


def _print(line: str) -> None:
    """To stdout, at once: what it cannot take is told, but for a reader that has gone."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer would fail once more when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(NOBODY_READS)
        raise EmbeddedError(f"Cannot write to stdout: {error.strerror}.") from error


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("'' is no folder; it would be the current one, so say it.")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hodei.embedded",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    directory = {"metavar": "DIR", "type": _folder, "default": argparse.SUPPRESS}
    directory_help = "the folder of the server (default: HODEI_EMBEDDED_DIR, else .hodei/pg)"
    parser.add_argument("--directory", help=directory_help, **directory)  # type: ignore[arg-type]
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    described: tuple[tuple[str, Callable[[Location, argparse.Namespace], int], str], ...] = (
        ("start", start, "start the server and keep it running until 'stop'; prints its address"),
        ("stop", stop, "stop the server, ending the connections that it has"),
        ("status", status, "say whether it runs, where its data is and how to reach it"),
        ("dump", dump, "write all data as SQL, also data that an older version made"),
    )
    for name, run, text in described:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("--directory", help=directory_help, **directory)  # type: ignore[arg-type]
        command.set_defaults(run=run)
        if name == "dump":
            command.add_argument(
                "file",
                metavar="FILE",
                nargs="?",
                type=Path,
                help="where to write it, for your eyes only (mode 0600); default: standard output",
            )
    # No argument begins with NUL, so all of them reach psql as they are, options too.
    command = commands.add_parser(
        "psql",
        help="run the bundled psql on the database; ARGS are psql's own",
        usage="python -m hodei.embedded [--directory DIR] psql [ARGS ...]",
        prefix_chars="\0",
        add_help=False,
    )
    command.add_argument("arguments", nargs="*", metavar="ARGS", help="see 'psql -?'")
    command.set_defaults(run=psql)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error is one sentence on stderr."""
    options = _parser().parse_args(argv)
    if getattr(sys, "stdout") is None:  # noqa: B009  (a shell has closed it: nobody wants to read)
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (for good)
    try:
        chosen = getattr(options, "directory", None) or directory_from(os.environ)
        if os.environ.get("DATABASE_URL", "").strip():
            folders.say("DATABASE_URL is set, so the project uses that; this is the embedded one.")
        run: Callable[[Location, argparse.Namespace], int] = options.run
        return run(locate(chosen), options)
    except EmbeddedError as error:
        folders.say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        folders.say("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
