"""Pure: a statement's tokens, read from the left."""

from __future__ import annotations

from typing import NamedTuple

from hodei.schema.plan.tokens import Kind, Token, tokens


class Name(NamedTuple):
    """A relation as the statement names it; ``schema`` is None where the search path decides."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


class Reader:
    """A place in a list of tokens. What is not there leaves the place as it is."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0

    @classmethod
    def of(cls, statement: str) -> Reader:
        return cls(tokens(statement))

    @property
    def rest(self) -> list[Token]:
        return self._tokens[self._at :]

    @property
    def next(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def take(self, words: str) -> bool:
        """Step over these keywords (``"if not exists"``), or over none of them."""
        wanted = words.split()
        found = self._tokens[self._at : self._at + len(wanted)]
        if len(found) == len(wanted) and all(
            token.is_word(word) for token, word in zip(found, wanted, strict=True)
        ):
            self._at += len(wanted)
            return True
        return False

    def take_any(self, *choices: str) -> str | None:
        """Step over the first of the choices that stands here, and return it."""
        return next((words for words in choices if self.take(words)), None)

    def skip(self) -> None:
        """Step over whatever stands here."""
        self._at += 1

    def sign(self, text: str) -> bool:
        if self.next is None or not self.next.is_sign(text):
            return False
        self._at += 1
        return True

    def word(self) -> str | None:
        """Step over one name and return it."""
        token = self.next
        if token is None or not token.is_name:
            return None
        self._at += 1
        return token.text

    def path(self) -> tuple[str, ...]:
        """Step over ``a.b.c``."""
        parts: list[str] = []
        while (part := self.word()) is not None:
            parts.append(part)
            if not self.sign("."):
                break
        return tuple(parts)

    def name(self) -> Name | None:
        """Step over a relation's name; a database before it is of no interest."""
        parts = self.path()
        if not parts:
            return None
        return Name(parts[-2] if len(parts) > 1 else None, parts[-1])

    def names(self) -> list[Name]:
        """Step over a list of relations."""
        found: list[Name] = []
        while True:
            self.take("only")
            name = self.name()
            if name is None:
                return found
            found.append(name)
            self.sign("*")
            if not self.sign(","):
                return found

    def seek(self, *words: str) -> bool:
        """Go behind the first of these keywords outside of parentheses; False and stay if none."""
        depth = 0
        for place in range(self._at, len(self._tokens)):
            token = self._tokens[place]
            depth += _step(token)
            if depth == 0 and token.is_word(*words):
                self._at = place + 1
                return True
        return False

    def parts(self) -> list[Reader]:
        """What is left, cut at the commas outside of parentheses."""
        found: list[list[Token]] = [[]]
        depth = 0
        for token in self.rest:
            depth += _step(token)
            if depth == 0 and token.is_sign(","):
                found.append([])
            else:
                found[-1].append(token)
        return [Reader(part) for part in found]

    def has(self, words: str) -> bool:
        """Whether these keywords stand side by side somewhere ahead, outside of parentheses."""
        wanted = words.split()
        flat = outside(self.rest)
        return any(
            all(token.is_word(word) for token, word in zip(flat[at:], wanted, strict=False))
            for at in range(len(flat) - len(wanted) + 1)
        )


def outside(found: list[Token]) -> list[Token]:
    """The tokens that are not inside parentheses, the parentheses themselves included."""
    flat: list[Token] = []
    depth = 0
    for token in found:
        step = _step(token)
        if depth == 0 or (depth == 1 and step == -1):
            flat.append(token)
        depth += step
    return flat


def _step(token: Token) -> int:
    if token.kind is not Kind.SIGN:
        return 0
    return {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
