"""The jobs of an engine, waited for until the last one has ended, whatever became of the others."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


def all_results(waits: Iterable[Callable[[], Result]]) -> list[Result]:
    """What each job returns. Once all have ended, raises what the first of those raised that have
    no result: an engine's own error, since a run keeps its failure in its folder."""
    results, errors = [], []
    for wait in waits:
        try:
            results.append(wait())
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return results
