from __future__ import annotations

import dataclasses

import pytest

from hodei.schema.results import (
    Finding,
    FindingKind,
    MigrationKey,
    SchemaValidationResult,
    Severity,
)


def keys(number: int, app: str = "shop") -> tuple[MigrationKey, ...]:
    return tuple((app, f"{index:04}") for index in range(number))


def finding(kind: FindingKind, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(kind=kind, severity=severity, subject="shop.0001", message="Found.")


def validation(
    applied: int = 12, expected: int = 12, *findings: Finding, failed: int = 0
) -> SchemaValidationResult:
    wanted = keys(expected)
    return SchemaValidationResult(
        applied_migrations=wanted[:applied],
        expected_migrations=wanted,
        pending_migrations=wanted[applied + failed :],
        failed_migrations=wanted[applied : applied + failed],
        last_migration=wanted[applied - 1] if applied else None,
        findings=findings,
    )


class TestSummary:
    def test_of_a_valid_schema(self) -> None:
        assert validation().summary() == "Schema valid: 12/12 migrations applied"

    def test_of_pending_migrations(self) -> None:
        assert validation(10).summary() == "Schema INVALID: 10/12 applied, 2 pending, 0 failed"

    def test_of_failed_migrations(self) -> None:
        found = validation(10, failed=1)

        assert found.summary() == "Schema INVALID: 10/12 applied, 1 pending, 1 failed"

    def test_of_no_migrations_at_all(self) -> None:
        assert validation(0, 0).summary() == "Schema valid: 0/0 migrations applied"

    def test_appends_what_else_was_found(self) -> None:
        unknown = finding(FindingKind.UNKNOWN)

        assert (
            validation(12, 12, unknown).summary()
            == "Schema valid: 12/12 migrations applied, 1 unknown"
        )
        assert (
            validation(10, 12, unknown, unknown, finding(FindingKind.CONFLICTING)).summary()
            == "Schema INVALID: 10/12 applied, 2 pending, 0 failed, 1 conflicting, 2 unknown"
        )


class TestIsValid:
    def test_an_error_found_makes_it_invalid(self) -> None:
        found = validation(12, 12, finding(FindingKind.CONFLICTING, Severity.ERROR))

        assert not found.is_valid
        assert found.summary() == (
            "Schema INVALID: 12/12 applied, 0 pending, 0 failed, 1 conflicting"
        )

    def test_a_warning_does_not(self) -> None:
        assert validation(12, 12, finding(FindingKind.UNKNOWN)).is_valid

    def test_other_migrations_do_not_make_up_for_pending_ones(self) -> None:
        found = dataclasses.replace(validation(10), applied_migrations=keys(12, "elsewhere"))

        assert not found.is_valid


def test_values_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        validation().findings = ()  # type: ignore[misc]
