"""Is one network better than others, by more than chance?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from msref.arrays import Array
from msref.claims.base import FAILS, HOLDS, NOT_COMPARABLE, Claim

Named = tuple[str, Array]
"""What a network is called, and what it reached: a number per run."""


def mean(values: Array, digits: int) -> str:
    """Write a mean with the standard deviation over runs."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def percent(values: Array) -> str:
    """Write shares in per cent."""
    return f"{mean(100 * values, 1)} %"


def points(difference: float) -> str:
    """Write a difference of shares in points."""
    return f"{100 * difference:+.1f} points"


def beats(
    key: str,
    text: str,
    source: str,
    published: str,
    what: str,
    ours: Named,
    others: Sequence[Named],
    *,
    show: Callable[[Array], str] = percent,
    gap: Callable[[float], str] = points,
    lower_is_better: bool = False,
    paired: bool = False,
) -> Claim:
    """Decide whether one network is better than each of some others.

    A one-sided t-test at 5 % for each of them: Welch's over independent runs,
    or the paired one where run number k of all networks had the same task.

    Arguments
        what: the quantity measured, and on what.
        show, gap: write the runs of a network, and a difference of means.
    """
    sign = -1.0 if lower_is_better else 1.0
    told, beaten = [f"{ours[0]} {show(ours[1])}"], []
    for name, theirs in others:
        difference = float(ours[1].mean() - theirs.mean())
        p = _p_value(sign * ours[1], sign * theirs, paired)
        told.append(f"{name} {show(theirs)} ({gap(difference)})")
        beaten.append((name, sign * difference, p))
    measured = f"{what}: " + ", ".join(told)
    if len(ours[1]) < (3 if paired else 2):
        return Claim(
            *(key, text, source, published, measured, NOT_COMPARABLE),
            "too few runs to tell a difference from chance",
        )
    lost = [name for name, d, _ in beaten if d <= 0]
    unsure = [name for name, d, p in beaten if d > 0 and not p < 0.05]
    if lost:
        reason = f"it is not better than {' and '.join(lost)}"
    elif unsure:
        reason = (
            f"better than {' and '.join(unsure)} on average, but within the"
            " spread over runs"
        )
    else:
        reason = "better by more than the spread over runs explains"
    test = "paired t-test" if paired else "Welch's test"
    return Claim(
        *(key, text, source, published, measured),
        HOLDS if not lost and not unsure else FAILS,
        f"{reason} ({test}, one-sided, 5 %)",
    )


def _p_value(ours: Array, theirs: Array, paired: bool) -> float:
    """Return how probable such an advantage is by chance; 1 for none.

    Without any spread there is no telling: 1 as well.
    """
    spread = np.ptp(ours - theirs) if paired else np.ptp(ours) + np.ptp(theirs)
    size = float(np.abs([ours.mean(), theirs.mean()]).max())
    if len(ours) < 2 or not spread > 1e-12 * size:
        return 1.0
    with warnings.catch_warnings():
        # of one network that came out the same in every run: no harm
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        if paired:
            found = stats.ttest_rel(ours, theirs, alternative="greater")
        else:
            found = stats.ttest_ind(
                ours, theirs, equal_var=False, alternative="greater"
            )
    return float(found.pvalue)
