"""UserError: what stops a command until its user changes something."""

from __future__ import annotations


class UserError(Exception):
    """Nothing goes on until the user does something; the message says what. Printed without a traceback.

    Attributes:
        code: exit code of the program that it ends.
    """

    code: int = 1


class WrongValue(UserError, ValueError):
    """A version, name, option or file that cannot be used as it was given."""
