# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JMESPath over a document, with errors that show where in the expression they are."""

from __future__ import annotations

import re
from typing import Any

from .model import AetherError

try:
    import jmespath
    from jmespath.exceptions import ArityError, JMESPathTypeError, LexerError, ParseError, UnknownFunctionError
    from jmespath.functions import Functions
except ImportError:
    jmespath, Functions = None, object

# The library's own errors are ValueErrors; Python's come through for 'a' > `1`, [::0], merge(@, `null`), and brackets without end.
ERRORS = (ArithmeticError, RecursionError, TypeError, ValueError)
# A function's name, or text that may look like one.
CALL = re.compile(r"""'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|"(?:\\.|[^"\\])*"|(?P<name>[A-Za-z_]\w*)(?=\s*\()""")

KINDS = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", type(None): "null"}


class _Placed(Functions):
    """Functions whose names end with their offset in the expression; an error keeps the one of the innermost call."""

    def call_function(self, function_name, resolved_args):
        name, offset = function_name.rsplit("_", 1)
        try:
            return super().call_function(name, resolved_args)
        except ERRORS as error:
            if not hasattr(error, "called"):
                error.called = (name, int(offset))
            raise


class Query:
    """One expression, checked when it is made; raises AetherError (``bad_input``)."""

    def __init__(self, expression: str, where: str):
        if jmespath is None:
            raise AetherError(
                "bad_input", "Option '%s' needs the Python library jmespath where the task runs: install it there (requirements.txt names it)." % where
            )
        self.where = where
        self.expression = re.sub(r"\s", " ", str(expression))  # one line, so that the caret stands below the fault
        try:
            self._compiled = jmespath.compile(self.expression)
        except ERRORS as error:
            raise self._error(error)

    def ask(self, document: Any) -> Any:
        """The value of the expression; raises AetherError (``bad_input``) for what shows only with a document."""
        try:
            return self._compiled.search(document)
        except ERRORS:
            pass
        placed = CALL.sub(lambda m: "%s_%d" % (m.group(), m.start()) if m.group("name") else m.group(), self.expression)
        try:
            return jmespath.compile(placed).search(document, options=jmespath.Options(custom_functions=_Placed()))
        except ERRORS as error:
            raise self._error(error)

    def not_boolean(self, value: Any) -> AetherError:
        return AetherError(
            "bad_input",
            "Option '%s': a condition must be true or false, and this is %s:\n%s\nCompare it with something, for instance length(…) > `0`."
            % (self.where, KINDS.get(type(value), type(value).__name__), self.marked(0)),
            expression=self.expression,
        )

    def marked(self, position: int) -> str:
        return "    %s\n    %s^" % (self.expression, " " * position)

    def _error(self, error) -> AetherError:
        position, text = self._place(error)
        # With another document the same expression may do: what it takes the wrong value of can be null now.
        return AetherError(
            "bad_input", "Option '%s' is no JMESPath that can be used: %s:\n%s" % (self.where, text, self.marked(position)),
            expression=self.expression, position=position, by_value=not isinstance(error, (ParseError, UnknownFunctionError, RecursionError)),
        )

    def _place(self, error):
        """(offset of the fault in the expression, what is wrong)."""
        if isinstance(error, LexerError):
            return error.lexer_position, "'%s' does not belong here" % error.lexer_value
        if isinstance(error, ParseError) and not isinstance(error, ArityError):
            at = error.lex_position
            if at is None or at >= len(self.expression):
                return len(self.expression), "it ends too early"
            return at, "'%s' does not belong here" % error.token_value
        name, at = getattr(error, "called", (None, 0))
        if isinstance(error, ArityError):
            return at, "%s() takes %s, not %d, arguments" % (name, error.expected_arity, error.actual_arity)
        if isinstance(error, UnknownFunctionError):
            return at, "there is no function %s()" % name
        if isinstance(error, JMESPathTypeError):
            return at, "%s() does not take %s, which is %s" % (name, str(error.current_value)[:60], error.actual_type)
        text = (str(error).splitlines() or [type(error).__name__])[0]
        sign = re.match(r"'([<>]=?)'", text)
        return at if name else max(0, self.expression.find(sign.group(1) if sign else "[" if "slice" in text else "")), text
