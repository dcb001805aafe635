# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JMESPath over a document, with errors that show where in the expression they are."""

from __future__ import annotations

import re
from typing import Any, Optional

from .model import AetherError

try:
    import jmespath
    from jmespath.exceptions import ArityError, JMESPathError, JMESPathTypeError, LexerError, ParseError
except ImportError:
    jmespath = None

KINDS = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", type(None): "null"}


class Query:
    """One expression, checked when it is made; raises AetherError (``bad_input``)."""

    def __init__(self, expression: str, where: str):
        if jmespath is None:
            raise AetherError("bad_input", "Option '%s' needs the Python library jmespath where the task runs: install it there (requirements.txt names it)." % where)
        self.where = where
        self.expression = re.sub(r"\s", " ", str(expression))  # one line, so that the caret stands below the fault
        try:
            self._compiled = jmespath.compile(self.expression)
        except JMESPathError as error:
            raise self._error(error)

    def ask(self, document: Any) -> Any:
        """The value of the expression; raises AetherError (``bad_input``) for what shows only with a document."""
        try:
            return self._compiled.search(document)
        except JMESPathError as error:
            raise self._error(error)

    def not_boolean(self, value: Any) -> AetherError:
        return AetherError(
            "bad_input",
            "Option '%s': a condition must be true or false, and this is %s:\n%s\nCompare it with something, for instance length(…) > `0`." % (self.where, KINDS.get(type(value), type(value).__name__), self.marked(0)),
            expression=self.expression,
        )

    def marked(self, position: int) -> str:
        return "    %s\n    %s^" % (self.expression, " " * position)

    def _error(self, error) -> AetherError:
        position, text = self._place(error)
        return AetherError("bad_input", "Option '%s' is no JMESPath that can be used: %s:\n%s" % (self.where, text, self.marked(position)), expression=self.expression, position=position)

    def _place(self, error):
        """(offset of the fault in the expression, what is wrong)."""
        if isinstance(error, LexerError):
            return error.lexer_position, "'%s' does not belong here" % error.lexer_value
        if isinstance(error, ParseError) and not isinstance(error, ArityError):
            at = error.lex_position
            if at is None or at >= len(self.expression):
                return len(self.expression), "it ends too early"
            return at, "'%s' does not belong here" % error.token_value
        name = self._function(error)
        found = re.search(r"\b%s\s*\(" % re.escape(name), self.expression) if name else None
        at = found.start() if found else 0
        if isinstance(error, ArityError):
            return at, "%s() takes %s, not %d, arguments" % (name, error.expected_arity, error.actual_arity)
        if isinstance(error, JMESPathTypeError):
            return at, "%s() does not take %s, which is %s" % (name, str(error.current_value)[:60], error.actual_type)
        return at, "there is no function %s()" % name if name else str(error).splitlines()[0] if str(error) else "it is empty"

    @staticmethod
    def _function(error) -> Optional[str]:
        name = getattr(error, "function_name", None)
        told = re.search(r"function: (\w+)\(", str(error))
        return str(name) if name else told.group(1) if told else None
