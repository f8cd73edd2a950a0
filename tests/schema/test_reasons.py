from __future__ import annotations

import pytest

from hodei.schema.reasons import ADVICE, Reason, reason_by_sqlstate, reason_by_text

# As PostgreSQL 15 to 18, libpq 18, psycopg 3.3, PgBouncer 1.18 and Django say it.
SAID = {
    "failed to resolve host 'db': [Errno -2] Name or service not known": Reason.UNKNOWN_HOST,
    'could not translate host name "db" to address: No such host is known': Reason.UNKNOWN_HOST,
    'connection to server at "::1", port 1 failed: Connection refused': Reason.REFUSED,
    'connection to server on socket "/x/.s" failed: No such file or directory': Reason.REFUSED,
    'connection to server at "10.0.0.1" failed: No route to host': Reason.UNREACHABLE,
    "connection timeout expired": Reason.TIMEOUT,
    "couldn't get a connection after 1.00 sec": Reason.TIMEOUT,
    'FATAL:  password authentication failed for user "ada"': Reason.WRONG_PASSWORD,
    "fe_sendauth: no password supplied": Reason.WRONG_PASSWORD,
    'FATAL:  Peer authentication failed for user "ada"': Reason.WRONG_PASSWORD,
    'FATAL:  role "ada" does not exist': Reason.NO_ROLE,
    'FATAL:  role "ada" is not permitted to log in': Reason.NOT_ADMITTED,
    'no pg_hba.conf entry for host "10.0.0.1", user "ada", no encryption': Reason.NOT_ADMITTED,
    'FATAL:  permission denied for database "x"': Reason.NOT_ADMITTED,
    'FATAL:  database "x" does not exist': Reason.NO_DATABASE,
    "FATAL: no such database: x": Reason.NO_DATABASE,
    "FATAL:  the database system is starting up": Reason.STARTING,
    "FATAL:  the database system is not yet accepting connections": Reason.STARTING,
    "FATAL:  sorry, too many clients already": Reason.FULL,
    "FATAL:  remaining connection slots are reserved for roles with SUPERUSER": Reason.FULL,
    'FATAL:  too many connections for role "ada"': Reason.FULL,
    "server does not support SSL, but SSL was required": Reason.TLS,
    'root certificate file "/x" does not exist': Reason.TLS,
    'invalid connection option "bogus"': Reason.BAD_OPTION,
    'invalid sslmode value: "maybe"': Reason.BAD_OPTION,
    'FATAL:  invalid value for parameter "TimeZone": "Mars"': Reason.BAD_OPTION,
    'FATAL:  unrecognized configuration parameter "colour"': Reason.BAD_OPTION,
    "FATAL:  unsupported startup parameter: options": Reason.BAD_OPTION,
    "received invalid response to SSL negotiation: H": Reason.TLS,
    "server closed the connection unexpectedly": Reason.LOST,
    "consuming input failed: SSL SYSCALL error: EOF detected": Reason.LOST,
    "SSL connection has been closed unexpectedly; server closed the connection": Reason.LOST,
    "PostgreSQL 15 or later is required (found 13.4).": Reason.TOO_OLD,
}


class TestReasonByText:
    @pytest.mark.parametrize(("text", "reason"), SAID.items())
    def test_reads_the_reason_from_the_words(self, text: str, reason: Reason) -> None:
        assert reason_by_text(text) is reason

    def test_admits_that_it_does_not_know(self) -> None:
        assert reason_by_text("FATAL: le rôle « ada » n'existe pas") is None


class TestReasonBySqlstate:
    @pytest.mark.parametrize(
        ("sqlstate", "reason"),
        [
            ("28P01", Reason.WRONG_PASSWORD),
            ("28000", Reason.NOT_ADMITTED),
            ("3D000", Reason.NO_DATABASE),
            ("53300", Reason.FULL),
            ("57P03", Reason.STARTING),
            ("57P01", Reason.LOST),
            ("08006", Reason.LOST),
        ],
    )
    def test_knows_the_codes_of_the_connection(self, sqlstate: str, reason: Reason) -> None:
        assert reason_by_sqlstate(sqlstate) is reason

    @pytest.mark.parametrize("sqlstate", ["55P03", "57014", "42P01", "42501", "23505", "3F000"])
    def test_leaves_the_codes_of_statements_alone(self, sqlstate: str) -> None:
        assert reason_by_sqlstate(sqlstate) is None


def test_every_reason_says_what_to_do() -> None:
    assert set(ADVICE) == set(Reason)
