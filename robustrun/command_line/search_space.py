"""What a search may choose: the words with several values as Optuna's distributions."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from robustrun.configuration import words
from robustrun.errors import ConfigError

Value = bool | int | float | str | None  # of Optuna's parameters; choices are texts
Combination = dict[str, Value]


@dataclass(frozen=True)
class Space:
    """The words that every run has, and what is chosen for each."""

    fixed: tuple[str, ...]
    parameters: dict[str, BaseDistribution]  # by the key as it was typed, with its +

    def words(self, values: Combination) -> list[str]:
        """The words of a run."""
        return [*self.fixed, *(f"{key}={values[key]}" for key in self.parameters)]

    def description(self) -> dict[str, str]:
        """By which a study knows that it searches the same."""
        return {key: distribution_to_json(kind) for key, kind in self.parameters.items()}

    def extremes(self) -> list[Combination]:
        """A few combinations in which each choice and both ends of each range occur."""
        ends = {key: _ends(kind) for key, kind in self.parameters.items()}
        count = max(map(len, ends.values()))
        return [
            {key: values[i % len(values)] for key, values in ends.items()} for i in range(count)
        ]

    def grid(self) -> list[Combination]:
        """Every combination, the last key fastest; ConfigError if there is no end of them."""
        values = [_values(key, kind) for key, kind in self.parameters.items()]
        return [dict(zip(self.parameters, chosen, strict=True)) for chosen in product(*values)]


def space(overrides: Iterable[Override]) -> Space:
    """The space of these words; a later one replaces an earlier one with the same key."""
    fixed: dict[str, str] = {}
    parameters: dict[str, BaseDistribution] = {}
    for override in overrides:
        key, word = override.get_key_element(), str(override.input_line)
        for former in (fixed, parameters):
            former.pop(key, None)
        if override.is_sweep_override():
            parameters[key] = _distribution(override, word)
        else:
            fixed[key] = word
    if not parameters:
        raise ConfigError(
            "hydra/sweeper=optuna needs something to search, as in "
            "'method.beta=interval(1,10)', method.beta=1,3,6 or 'method.beta=range(1,7)'."
        )
    return Space(tuple(fixed.values()), parameters)


def _distribution(override: Override, word: str) -> BaseDistribution:
    value = override.value()
    tags = value.tags if isinstance(value, Sweep) else set()
    ordered = isinstance(value, IntervalSweep | RangeSweep)
    if tags - {"log"} or (tags and not ordered):
        raise ConfigError(
            f"{word}: a search knows one tag, log, of an interval or a range: "
            f"{words.key(override)}=tag(log, interval(0.1,10))."
        )
    try:
        if isinstance(value, IntervalSweep):
            return _interval(value, bool(tags))
        if isinstance(value, RangeSweep):
            return _range(value, bool(tags))
        return CategoricalDistribution([*dict.fromkeys(override.sweep_string_iterator())])
    except ValueError as error:
        raise ConfigError(f"{word} cannot be searched: {error}") from None


def _interval(value: IntervalSweep, log: bool) -> BaseDistribution:
    low, high = value.start, value.end
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    assert low is not None
    assert high is not None
    return FloatDistribution(low, high, log=log)


def _range(value: RangeSweep, log: bool) -> BaseDistribution:
    """The values that Hydra makes of it, without its end, in decimals as they were typed."""
    numbers = (value.start, value.stop, value.step)
    start, stop, step = (Decimal(str(number)) for number in numbers)
    count = math.ceil((stop - start) / step) if step else 0
    if count < 1:
        raise ValueError("it has no value.")
    low, high = sorted((start, start + (count - 1) * step))
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=log, step=int(abs(step)))
    return FloatDistribution(float(low), float(high), log=log, step=float(abs(step)))


def _ends(kind: BaseDistribution) -> list[Value]:
    if isinstance(kind, CategoricalDistribution):
        return [*kind.choices]
    assert isinstance(kind, FloatDistribution | IntDistribution)
    return [kind.low, kind.high]


def _values(key: str, kind: BaseDistribution) -> list[Value]:
    if isinstance(kind, CategoricalDistribution):
        return [*kind.choices]
    assert isinstance(kind, FloatDistribution | IntDistribution)
    if kind.step is None:
        raise ConfigError(
            f"hydra.sweeper.sampler is 'grid', but {key} has an interval. Give it choices "
            f"({key}=1,3,6) or a range ({key}=range(1,7,2))."
        )
    low, high, step = (Decimal(str(number)) for number in (kind.low, kind.high, kind.step))
    number = int if isinstance(kind, IntDistribution) else float
    return [number(low + i * step) for i in range(int((high - low) / step) + 1)]
