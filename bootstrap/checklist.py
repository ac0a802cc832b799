"""Checks that do not depend on one another: all run, and all their errors are told at once."""

from __future__ import annotations

from collections.abc import Callable

from bootstrap.errors import PreflightError, UnreadyError, unusable_file


class Checks:
    """Runs checks that do not depend on one another, and tells all their errors at once."""

    def __init__(self) -> None:
        self._errors: list[PreflightError] = []

    def passes(self, check: Callable[[], object]) -> bool:
        """Run a check and keep its error for `refuse`; return whether there was none."""
        try:
            check()
        except UnreadyError as several:
            self._errors += several.errors
        except PreflightError as error:
            self._errors.append(error)
        except OSError as error:  # the errors that were found before it are told, too
            self._errors.append(unusable_file(error))
        else:
            return True
        return False

    def refuse(self) -> None:
        """Raise the errors of the checks, if there are any.

        Raises:
            PreflightError: the one error, or an UnreadyError of several.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise UnreadyError(self._errors)
