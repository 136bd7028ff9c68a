"""A suite that is done at once, and can fail on the way."""

from msref.bench.suite import Measurement, Suite, ratio_goals
from msref.bench.timing import Timing


def timing(seconds):
    return Timing(seconds, 0.9 * seconds, 1.1 * seconds, 5)


def suite(log, fail_at=None):
    def cases(scale):
        sizes = (1, 2, 3) if scale == "quick" else (1, 2, 3, 4)
        return [{"cell": "toy", "n_hid": n} for n in sizes]

    def measure(case, seconds):
        n = case["n_hid"]
        log.append(n)
        if n == fail_at:
            raise KeyboardInterrupt
        timings = {"ours": timing(0.001 * n), "limit, a": timing(0.0005)}
        timings |= {"peer": timing(0.002), "peer, other": timing(0.004)}
        notes = {"away": "away is not installed"} if n == 1 else {}
        return Measurement(
            case, timings, {"MB": 1.5 * n, "route": "short"}, notes
        )

    def goals(rows):
        return ratio_goals(rows, "peer", 2.0, 1.0)

    return Suite("toy", "a toy", cases, measure, goals)
