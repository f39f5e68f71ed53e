r"""The language of `where`: text in, a filter tree out.

    year >= 2020 and (lang = 'ko' or 분류 in ('과학', '역사')) and not author.name like '김%'

- Comparisons: `=` (or `==`), `!=` (or `<>`), `<`, `<=`, `>`, `>=`, `in (…)`, `between … and …`, `like`, the last three
  also with `not` in front, `is null`, `is not null`. `not` binds closer than `and`, `and` closer than `or`.
- Fields: a name of letters, digits and `_`, Korean ones included, with dots for nested ones; any other name, and one
  that is a keyword, in double quotes (`"my field"`, `author."full name"`, `""` within for one quote). The plain names
  `id`, `title` and `source` are the document's own; in double quotes they are fields of the metadata.
- Values: text in single quotes (`''` within for one), numbers (`3`, `-2.5`, `1e6`), `true`, `false`; dates are text.
- Keywords may be written in any case. What a condition means is defined in `yusa.storage.filters`.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from yusa.errors import FilterError, UsageError
from yusa.search.tokens import Token, clipped, mistake, tokens, width
from yusa.storage.attributes import BOOLEAN, check_text, kind_of, split_number
from yusa.storage.filters import (
    MAX_DEPTH,
    And,
    Between,
    Compare,
    Comparison,
    Filter,
    In,
    IsNull,
    Like,
    Not,
    Or,
    Value,
    check_filter,
    check_pattern,
)
from yusa.text.normal import nfc

MAX_LENGTH: Final = 200_000
"""Characters of an expression."""

_OWN_FIELDS: Final = frozenset({"id", "title", "source"})
_COMPARISONS: Final[dict[str, Comparison]] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip


def parse(expression: str) -> Filter:
    """The filter that an expression means.

    Raises:
        FilterError: it cannot be understood, or is larger than `storage.filters` allows. The message holds the line, a
            caret under the mistake, what was expected, and a hint for the usual mistakes.
    """
    if len(expression) > MAX_LENGTH:
        raise FilterError(f"the filter has {len(expression):,} characters, at most {MAX_LENGTH:,} work")
    try:
        expression = check_text(nfc(expression))
    except UsageError as error:
        raise FilterError(f"the filter cannot be read: {error}") from None
    tree = _Parser(expression).whole()
    check_filter(tree)
    return tree


class _Parser:
    """Recursive descent; one method per rule, each leaves `self._token` at what follows."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._rest = tokens(expression)
        self._token = next(self._rest)
        self._depth = 0

    def whole(self) -> Filter:
        if self._token.kind == "end":
            self._fail("the filter is empty", hint="for example: year >= 2020 and lang = 'ko'")
        tree = self._either()
        if self._token.kind != "end":
            hint = "there is no parenthesis to close" if self._token.text == ")" else ""
            if self._token.at and self._expression[self._token.at - 1] == "'":
                hint = "a quote within text is written twice: 'it''s'"
            self._expected("`and`, `or` or the end", hint=hint)
        return tree

    def _either(self) -> Filter:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _both(self) -> Filter:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _one(self) -> Filter:
        negations = 0
        start = self._token
        while self._take("not"):
            negations += 1
        opening = self._token
        self._depth += negations + (opening.text == "(")
        if self._depth > MAX_DEPTH:
            self._fail(f"nested deeper than {MAX_DEPTH} levels", start, hint="write it flatter, or with `in (...)`")
        if self._take("("):
            tree = self._either()
            if not self._take(")"):
                column = width(self._expression[: opening.at]) + 1
                self._expected("`and`, `or` or `)`", hint=f"the parenthesis at column {column} is not closed")
            self._depth -= 1
        else:
            tree = self._condition()
        self._depth -= negations
        for _ in range(negations):
            tree = Not(tree)
        return tree

    def _condition(self) -> Filter:
        field = self._field()
        if self._take("is"):
            negated = self._take("not")
            if not self._take("null"):
                self._expected("`null`" if negated else "`null` or `not null`", hint="compare values with `=`")
            return IsNull(field, negated)
        negated = self._take("not")
        if self._take("in"):
            return In(field, self._list(), negated)
        if self._take("between"):
            low = self._bound()
            if not self._take("and"):
                self._expected("`and` and the upper bound of `between`")
            start = self._token
            high = self._bound()
            if kind_of(low) != kind_of(high):
                self._fail("the two bounds of `between` must both be text or both be numbers", start)
            return Between(field, low, high, negated)
        if self._take("like"):
            return Like(field, self._pattern(), negated)
        operator = self._token.text
        if negated or operator not in _COMPARISONS:
            others = "" if negated else "a comparison such as `=`, `is null`, "
            self._expected(f"{others}`in`, `between` or `like`", hint=self._name_hint())
        self._next()
        comparison = _COMPARISONS[operator]
        return Compare(field, comparison, self._value(operator) if comparison in ("=", "!=") else self._bound(operator))

    def _field(self) -> str:
        first = self._token
        parts = []
        while True:
            token = self._token
            if token.kind == "quoted":
                parts.append(token.text[1:-1].replace('""', '"'))
            elif token.kind == "name" or (token.kind == "keyword" and parts):
                parts.append(self._expression[token.at : token.at + len(token.text)])
            else:
                self._expected("a field name", hint=self._field_hint())
            self._next()
            if not self._take("."):
                break
        field = ".".join(parts)
        return f"yusa.{field}" if first.kind == "name" and field in _OWN_FIELDS else field

    def _list(self) -> tuple[Value, ...]:
        if not self._take("("):
            self._expected("`(` and the values of `in`", hint="for example: in ('ko', 'en')")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        if not self._take(")"):
            self._expected("`,` or `)`", hint=self._value_hint())
        return tuple(values)

    def _pattern(self) -> str:
        token = self._token
        pattern = self._value()
        try:
            if not isinstance(pattern, str):
                raise UsageError("`like` compares text; write the pattern in single quotes")
            check_pattern(pattern)
        except UsageError as error:
            self._fail(str(error), token)
        return pattern

    def _bound(self, operator: str = "") -> Value:
        token = self._token
        value = self._value(operator)
        if kind_of(value) == BOOLEAN:
            self._fail("booleans have no order", token, hint="use `=`")
        return value

    def _value(self, operator: str = "") -> Value:
        token = self._token
        if token.kind == "text":
            value: Value = token.text[1:-1].replace("''", "'")
        elif token.kind == "number":
            value = self._number(token)
        elif token.text in ("true", "false") and token.kind == "keyword":
            value = token.text == "true"
        else:
            self._expected("a value", hint=self._value_hint(operator))
        self._next()
        return value

    def _number(self, token: Token) -> float:
        try:
            value = float(token.text) if re.search("[.eE]", token.text) else int(token.text)
            split_number(value)
        except (UsageError, ValueError):  # int() refuses more than 4,300 digits
            self._fail("a number beyond 1.8e308 cannot be compared", token)
        return value

    def _value_hint(self, operator: str = "") -> str:
        token = self._token
        if token.text == "null":
            return "write `is not null`" if operator in ("!=", "<>") else "write `is null`"
        if token.kind == "quoted":
            text = token.text[1:-1].replace('""', '"').replace("'", "''")
            return f"double quotes stand around field names, single quotes around text: '{clipped(text)}'"
        if token.kind in ("name", "odd"):
            return f"text and dates stand in single quotes: '{clipped(token.text)}'"
        if operator == "=" and token.text in ("<", ">"):
            return f"write `{token.text}=`"
        return ""

    def _field_hint(self) -> str:
        token = self._token
        if token.kind == "text":
            return f'field names stand bare or in double quotes: "{clipped(token.text[1:-1])}"'
        if token.kind in ("keyword", "odd", "number"):
            return f'as a field name it stands in double quotes: "{clipped(token.text)}"'
        return ""

    def _name_hint(self) -> str:
        if self._token.kind in ("name", "odd", "text"):
            return 'a field name of several words stands in double quotes: "my field"'
        return ""

    def _take(self, text: str) -> bool:
        if self._token.text != text or self._token.kind not in ("keyword", "mark"):
            return False
        self._next()
        return True

    def _next(self) -> None:
        self._token = next(self._rest)

    def _expected(self, what: str, *, hint: str = "") -> NoReturn:
        token = self._token
        written = self._expression[token.at : token.at + len(token.text)]
        self._fail(f"expected {what}, found {f'`{clipped(written)}`' if written else 'the end'}", hint=hint)

    def _fail(self, message: str, token: Token | None = None, *, hint: str = "") -> NoReturn:
        raise mistake(self._expression, (token or self._token).at, message, hint)
