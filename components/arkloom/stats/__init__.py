"""Intervals and paired tests for what evaluation compares: bootstrap, Wilson, McNemar, Holm."""

from arkloom.stats.bootstrap import Interval, percentile_interval, resampled_means
from arkloom.stats.compare import Delta, compare, mean_interval, ratio_of_differences
from arkloom.stats.exact import holm, mcnemar_exact, wilson

__all__ = [
    "Delta",
    "Interval",
    "compare",
    "holm",
    "mcnemar_exact",
    "mean_interval",
    "percentile_interval",
    "ratio_of_differences",
    "resampled_means",
    "wilson",
]
