"""What is wrong with the graph of migrations itself: where ``migrate`` refuses to run."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations.loader import MigrationLoader

from hodei.schema.results import Finding, FindingKind, Severity


def conflicts(loader: MigrationLoader) -> Iterator[Finding]:
    for app, names in sorted(loader.detect_conflicts().items()):
        yield Finding(
            kind=FindingKind.CONFLICTING,
            severity=Severity.ERROR,
            subject=app,
            message=(
                f"App {app} has {len(names)} last migrations: {', '.join(names)}. "
                "Join them with makemigrations --merge; until then migrate refuses to run."
            ),
        )


def inconsistencies(loader: MigrationLoader) -> Iterator[Finding]:
    for key in sorted(loader.applied_migrations.keys() & loader.graph.nodes.keys()):
        for parent in sorted(node.key for node in loader.graph.node_map[key].parents):
            if parent not in loader.applied_migrations:
                yield Finding(
                    kind=FindingKind.INCONSISTENT,
                    severity=Severity.ERROR,
                    subject=".".join(key),
                    message=(
                        f"Migration {'.'.join(key)} is applied and {'.'.join(parent)}, on which "
                        "it depends, is not. Until the records agree, migrate refuses to run."
                    ),
                )
