"""cleanlab's classification functions: the same names, arguments, defaults, results and classes of errors.

`from dqcore.cleanlab import filter` instead of `from cleanlab import filter` is the whole migration from cleanlab 2.9.0 for
`count`, `filter`, `rank`, `dataset` and `multilabel_classification`. What differs, on purpose:

- Ties go to the lower row or class; cleanlab leaves them to an unstable sort, and equal remainders of the calibrated
  joint to any order.
- NaN in `pred_probs` is an error; cleanlab lets it through, and every row's flag may change by it.
- Thresholds and scores are computed in float64, and scores are float64, whatever the dtype of `pred_probs`. For float64
  results are equal to 1e-12; for float16 they are those of the same numbers as float64.
- `n_jobs` is a number of threads; results are the same for any. Nothing is printed but with `verbose`.
- `frac_noise` must be in [0, 1].
- Where a default of cleanlab's is an estimator, it is None here and stands for the same estimator, so that scikit-learn is
  wanted only by the functions that fit one.

By default results are equal where cleanlab is at odds with its own documents or the paper, too. `corrected=True`, which the
functions concerned take beyond cleanlab's arguments, gives the right ones:

- a row that is confident of several classes counts as the most probable of those, not of all classes (`count`, `filter`);
- the entropy score of a sure and right label is 1, not 0 (`rank`, and where `filter` ranks by it);
- `num_to_remove_per_class` counts by given class (`filter` with "prune_by_noise_rate" and "both");
- entry [c, 0, 0] of a multi-label joint holds rows that have class c, as its documents say, not those that have not.
"""

from . import count, dataset, filter, multilabel_classification, rank

__all__ = ["count", "dataset", "filter", "multilabel_classification", "rank"]
