"""Two runs of the same suite on the same problems: what changed, family by family and overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.reasoning_results import ProblemResult, ResultsError, by_family, means
from benchmarks.reasoning_statistics import FEW, Estimate, holm, mean_estimate, sign_flip_p_value

SIGNIFICANT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two runs in one family or task, or overall.

    Attributes:
        family: Its name; "overall" for all, equally weighted.
        problems: Their number.
        before: The mean score before.
        after: The mean score after.
        difference: After less before, with its 95 % interval by a paired bootstrap over problems.
        p_value: Of no difference, by sign flips; corrected by Holm for the number of families, overall not.
    """

    family: str
    problems: int
    before: float
    after: float
    difference: Estimate
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance at the level of 5 %: its p-value and its interval both say so."""
        excludes_none = self.difference.low > 0 or self.difference.high < 0
        return self.p_value < SIGNIFICANT and excludes_none


def compare(before: Sequence[ProblemResult], after: Sequence[ProblemResult], *, seed: int) -> list[Change]:
    """Returns the change in every family, then overall if there are several.

    Raises:
        ResultsError: The problems are not the same.
    """
    _check_same(before, after)
    later = {result.id: result for result in after}
    families = by_family(before)
    old = {name: means(of) for name, of in families.items()}
    new = {name: means([later[result.id] for result in of]) for name, of in families.items()}
    raw = [sign_flip_p_value([new[name] - old[name]], seed=seed) for name in families]
    changes = [
        _change(name, [old[name]], [new[name]], p_value, seed)
        for name, p_value in zip(families, holm(raw), strict=True)
    ]
    if len(families) == 1:
        return changes
    everything = [new[name] - old[name] for name in families]
    p_value = sign_flip_p_value(everything, seed=seed)
    return [*changes, _change("overall", list(old.values()), list(new.values()), p_value, seed)]


def notes(changes: Sequence[Change], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Returns what a reader of the table has to know.

    Args:
        changes: The table.
        before: What was run before.
        after: What was run after.
    """
    said: list[str] = []
    few = [change.family for change in changes if change.problems < FEW]
    if few:
        said.append(
            f"Fewer than {FEW} problems: {', '.join(few)}. Their intervals may be too narrow; the p-values hold."
        )
    old, new = before["settings"], after["settings"]
    differing = sorted(key for key in old.keys() | new.keys() if key != "agent" and old.get(key) != new.get(key))
    said += [f"The setting {key} differs: {old.get(key)} before, {new.get(key)} after." for key in differing]
    if before["packages"] != after["packages"]:
        said.append(f"The packages differ: {before['packages']} before, {after['packages']} after.")
    return said


def _change(name: str, old: Any, new: Any, p_value: float, seed: int) -> Change:
    differences = [after - before for before, after in zip(old, new, strict=True)]
    return Change(
        family=name,
        problems=sum(map(len, old)),
        before=float(sum(each.mean() for each in old) / len(old)),
        after=float(sum(each.mean() for each in new) / len(new)),
        difference=mean_estimate(differences, seed=seed, lowest=-1.0),
        p_value=p_value,
    )


def _check_same(before: Sequence[ProblemResult], after: Sequence[ProblemResult]) -> None:
    old = {result.id: result.digest for result in before}
    new = {result.id: result.digest for result in after}
    if old.keys() != new.keys():
        example = min(old.keys() ^ new.keys())
        raise ResultsError(
            f"the two runs are not of the same problems: {len(old)} before, {len(new)} after,"
            f" and {example} is in only one of them; run both with the same families, number and seed"
        )
    changed = [identity for identity, mark in old.items() if new[identity] != mark]
    if changed:
        raise ResultsError(
            f"the two runs are not of the same problems: {len(changed)} differ, the first is {changed[0]};"
            " run both with the same seed and the same data"
        )
