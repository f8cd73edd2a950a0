"""Pure: the words of PostgreSQL's SQL, as far as one needs them to see what a statement does.

No grammar: enough to split a script into statements, to read the names in one, and to break a long
one into lines without changing it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# What each is, and how it ends: chapter "Lexical Structure" of PostgreSQL's manual.
_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<cast>::)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted"
    STRING = "string"
    NUMBER = "number"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Token:
    """One word or sign. ``text`` is as PostgreSQL reads it: unquoted words in lower case, quoted
    ones without their quotes."""

    kind: Kind
    text: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords; a quoted name never is."""
        return self.kind is Kind.WORD and self.text in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs; a name or a string that reads alike is not."""
        return self.kind is Kind.SIGN and self.text in signs

    @property
    def is_name(self) -> bool:
        return self.kind in {Kind.WORD, Kind.QUOTED}


def tokens(sql: str) -> list[Token]:
    """Return the tokens, without spaces and comments. Never fails: what is odd is a sign."""
    return list(_tokens(sql))


def _tokens(sql: str) -> Iterator[Token]:
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None:  # not reached: any character is a sign
            return
        kind, text, start = match.lastgroup, match.group(), position
        position = match.end()
        if kind == "tag":  # the last group inside a dollar-quoted string
            kind = "dollar"
        match kind:
            case "space" | "comment":
                continue
            case "block":
                position = _end_of_comment(sql, position)
            case "word":
                yield Token(Kind.WORD, text.lower(), start, position)
            case "quoted":
                inner = text[text.index('"') + 1 : -1].replace('""', '"')
                yield Token(Kind.QUOTED, inner, start, position)
            case "string" | "escaped" | "dollar":
                yield Token(Kind.STRING, text, start, position)
            case "number":
                yield Token(Kind.NUMBER, text, start, position)
            case _:
                yield Token(Kind.SIGN, text, start, position)


def _end_of_comment(sql: str, position: int) -> int:
    """Where the comment ends that began before; comments nest."""
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(sql, position):
        depth += 1 if mark.group() == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


def split(script: str) -> list[str]:
    """Return the statements of a script, without their semicolons and the space around them.

    What stands before a statement as a comment stays with it, what stands behind it does not; a
    body written as BEGIN ATOMIC ... END is part of its CREATE FUNCTION.
    """
    statements = []
    begin, depth, last_end = 0, 0, 0
    previous: Token | None = None
    is_empty = True
    for token in tokens(script):
        if token.text == "(" and token.kind is Kind.SIGN:
            depth += 1
        elif token.text == ")" and token.kind is Kind.SIGN:
            depth -= 1
        elif (token.is_word("atomic") and previous is not None and previous.is_word("begin")) or (
            token.is_word("case") and depth
        ):
            depth += 1
        elif token.is_word("end") and depth:
            depth -= 1
        if token.kind is Kind.SIGN and token.text == ";" and depth <= 0:
            if not is_empty:
                statements.append(script[begin:last_end].strip())
            begin, depth, is_empty = token.end, 0, True
        else:
            is_empty, last_end = False, token.end
        previous = token
    if not is_empty:
        statements.append(script[begin:last_end].strip())
    return statements


def wrap(statement: str, width: int) -> list[str]:
    """Break a statement into lines of at most ``width`` characters, at the spaces between tokens.

    The words stay the same, and so does what is longer than a line by itself. Lines that were there
    stay; continued ones are indented by four.
    """
    if "--" in statement or "/*" in statement:
        # A comment ends with its line, so nothing may be moved.
        return statement.splitlines()
    lines: list[str] = []
    line = ""
    for gap, text in _glued(statement):
        if "\n" in gap:
            lines.append(line)
            line = gap.rpartition("\n")[2] + text
        elif line.strip() and len(line) + len(gap) + len(text) > width:
            lines.append(line)
            line = "    " + text
        else:
            line += gap + text
    return [*lines, line]


def _glued(statement: str) -> Iterator[tuple[str, str]]:
    """Tokens that no space divides, together, each with the space before it."""
    gap, text, end = "", "", 0
    for token in tokens(statement):
        if token.start > end and text:
            yield gap, text
            text = ""
        if not text:
            gap = statement[end : token.start]
        text += statement[token.start : token.end]
        end = token.end
    yield gap, text
