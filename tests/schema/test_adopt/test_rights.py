"""An adoption by a role without the rights for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.schema.test_adopt.kit import adopt, execute, traces

OWNED = """
GRANT CREATE ON DATABASE {database} TO {role};
ALTER TABLE plots OWNER TO {role}; ALTER TABLE fences OWNER TO {role}
"""


class TestRights:
    @pytest.mark.parametrize(
        ("grant", "words"),
        [
            ("", "it needs CREATE on the database"),
            ("GRANT CREATE ON DATABASE {database} TO {role}", "does not own fences, plots"),
            (OWNED, "may not make tables in schema 'public'"),
        ],
    )
    def test_a_role_without_them_is_told(
        self,
        homestead: str,
        database: dict[str, Any],
        point_alias: Callable[..., str],
        grant: str,
        words: str,
    ) -> None:
        role = f"{database['NAME']}_reader"
        execute(
            homestead,
            f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        )
        if grant:
            execute(homestead, grant.format(database=database["NAME"], role=role))
        before = traces(homestead)
        try:
            code, said = adopt(point_alias(database, OPTIONS={"assume_role": role}))
        finally:
            point_alias(database)
            execute(
                homestead,
                f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}",
            )

        assert code == 3
        assert words in said
        assert traces(homestead) == before
