"""Pure: the fingerprint of a migration's source, deaf to what does not change its meaning.

A comment, a docstring, a line break or another way to quote must not make an applied migration look
edited: tools that hash bytes have broken deployments over a newline. So the syntax tree is hashed.
It differs between minor versions of Python, and therefore the fingerprint names the version, and
two are comparable only if what stands before the colon is equal.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator

_ALGORITHM = "ast1"
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def fingerprint(source: str) -> str:
    """Return ``ast1-<Python minor>:<SHA-256>`` for a module's text. Raises SyntaxError."""
    tokens = "\0".join([*_tokens(ast.parse(source)), ""])
    return f"{tag()}:{hashlib.sha256(tokens.encode('utf-8', 'surrogatepass')).hexdigest()}"


def tag() -> str:
    """What the fingerprints made by this Python begin with."""
    return f"{_ALGORITHM}-{sys.version_info.major}.{sys.version_info.minor}"


def comparable(one: str, other: str) -> bool:
    """Whether the two were made alike, so that a difference between them means an edit."""
    return one.partition(":")[0] == other.partition(":")[0]


def _drop_docstring(node: ast.AST) -> None:
    if isinstance(node, _WITH_DOCSTRING) and node.body:
        first = node.body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            del node.body[0]


def _tokens(tree: ast.AST) -> Iterator[str]:
    """Walk depth first without recursion: a long sum of strings nests deeper than Python calls.

    Every value carries its type's mark, and lists their length, so that no two trees read alike.
    """
    stack: list[object] = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.AST):
            _drop_docstring(item)
            yield f"node {type(item).__name__}"
            # "kind" only tells u"text" from "text".
            fields = [value for name, value in ast.iter_fields(item) if name != "kind"]
            stack.extend(reversed(fields))
        elif isinstance(item, list):
            yield f"list {len(item)}"
            stack.extend(reversed(item))
        else:
            yield f"value {type(item).__name__} {item!r}"
