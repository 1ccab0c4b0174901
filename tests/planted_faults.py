"""Do the tests bite? Plants one fault after another in a copy of the tree and runs the test that must notice.

    python tests/planted_faults.py                 all of them
    python tests/planted_faults.py --only tie-rule  those whose name holds the word

Wants cmake, ninja, pybind11 and the test requirements. A fault that survives, or whose edit no longer applies, fails.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Fault(NamedTuple):
    """One edit, and the test (a pytest node, or several) that fails by it."""

    name: str
    file: str
    old: str
    new: str
    test: str


FAULTS = [
    # ---- the crew ----
    Fault(
        "parallel: the first exception is lost",
        "cpp/base/parallel.cpp",
        "    crew.rethrow();\n",
        "",
        "tests/test_parallel.py::test_an_exception_in_a_worker_reaches_the_caller_once",
    ),
    Fault(
        "parallel: an exception does not stop the others",
        "cpp/base/parallel.cpp",
        "        stop_ = true;\n",
        "",
        "tests/test_parallel.py::test_an_exception_stops_the_other_workers",
    ),
    Fault(
        "parallel: the last chunk is left out",
        "cpp/base/parallel.cpp",
        "(chunk = next_.fetch_add(1)) < chunks_;",
        "(chunk = next_.fetch_add(1)) < chunks_ - (chunks_ > 1);",
        "tests/test_parallel.py::test_an_exception_in_a_worker_reaches_the_caller_once",
    ),
    Fault(
        "parallel: progress ends short of the total",
        "cpp/base/parallel.cpp",
        "run.watcher->tick(stage, chunks, chunks);",
        "run.watcher->tick(stage, chunks - 1, chunks);",
        "tests/test_parallel.py::test_progress_grows_and_ends_at_the_total_on_the_callers_thread",
    ),
    Fault(
        "parallel: nobody asks for signals",
        "cpp/bind/run.h",
        "        if (PyErr_CheckSignals() != 0) throw py::error_already_set();\n",
        "",
        "tests/test_parallel.py::test_an_interrupt_ends_the_call_soon_and_the_next_call_works",
    ),
    Fault(
        "parallel: the GIL is kept during a call",
        "cpp/bind/run.h",
        "        const Without gil(*this);\n        work(run_);",
        "        const py::gil_scoped_acquire gil;\n        let_go();\n        take();\n        Run alone = run_;\n"
        "        alone.watcher = nullptr;\n        work(alone);",
        "tests/test_parallel.py::test_other_python_threads_go_on_during_a_call",
    ),
    Fault(
        "parallel: the environment is not asked",
        "cpp/base/parallel.cpp",
        'std::getenv("DQCORE_THREADS")',
        'std::getenv("DQCORE_THREAD")',
        "tests/test_parallel.py::test_the_environment_says_how_many_threads",
    ),
    # ---- exact arithmetic ----
    Fault(
        "exact: a tail of the canonical sum is padded with what lies behind it",
        "cpp/simd/knn.inl",
        "for (int64_t t = 0; c + t < d; ++t) {",
        "for (int64_t t = 0; t < kLanes; ++t) {",
        "tests/test_exact.py::test_the_canonical_sum_at_any_address",
    ),
    Fault(
        "exact: the last dim of a tail is left out",
        "cpp/simd/knn.inl",
        "for (int64_t t = 0; c + t < d; ++t) {",
        "for (int64_t t = 0; c + t < d - 1; ++t) {",
        "tests/test_exact.py::test_the_canonical_sum_at_every_tail_length",
    ),
    Fault(
        "exact: the fold pairs other lanes",
        "cpp/simd/knn.inl",
        "last[l] += last[l + width];",
        "last[l] += last[2 * width - 1 - l];",
        "tests/test_exact.py::test_the_canonical_sum_at_every_tail_length",
    ),
    Fault(
        "exact: the compiler may fuse multiply and add",
        "CMakeLists.txt",
        "-ffp-contract=off;",
        "-ffp-contract=fast;",
        "tests/test_exact.py::test_the_canonical_sum_rounds_every_product",
    ),
    Fault(
        "exact: log turns at another place than its twin",
        "cpp/base/elementary.h",
        "if (m >= 0x1.6a09e667f3bcdp+0) {",
        "if (m > 0x1.6a09e667f3bcdp+0) {",
        "tests/test_exact.py::test_log_has_the_same_bits_in_both_languages",
    ),
    Fault(
        "exact: a coefficient of exp is short of digits",
        "cpp/base/elementary.h",
        "-2.77777777770155933842e-03",
        "-2.77777777770e-03",
        "tests/test_exact.py::test_exp_has_the_same_bits_in_both_languages",
    ),
    Fault(
        "exact: subnormal halves are zero",
        "cpp/base/row_block.h",
        "float value = static_cast<float>(rest) * 0x1p-24f;",
        "float value = 0.0f;",
        "tests/test_exact.py::test_every_half_becomes_the_float_that_it_is",
    ),
    # ---- the bootstrap ----
    Fault(
        "bootstrap: a draw at a bound of the table gives the lower weight",
        "cpp/joint/bootstrap.cpp",
        "bound - 32769",
        "bound - 32768",
        "tests/test_bootstrap.py::test_native_equals_the_reference",
    ),
    Fault(
        "bootstrap: the lower limb of the sums is lost",
        "cpp/joint/bootstrap.cpp",
        "(static_cast<int128>(high_[i]) << 32) + low_[i]",
        "static_cast<int128>(high_[i]) << 32",
        "tests/test_bootstrap.py",
    ),
    Fault(
        "bootstrap: probabilities of 1 are added in 32 bits",
        "cpp/joint/bootstrap.cpp",
        "high >= 0 && high <= UINT32_MAX",
        "high >= 0",
        "tests/test_bootstrap.py::test_native_equals_the_reference",
    ),
    Fault(
        "bootstrap: a class near its threshold is taken for settled",
        "cpp/joint/bootstrap.cpp",
        "return sure_ > 1 || (sure_ == 1 && only_ == argmax);",
        "return sure_ >= 1;",
        "tests/test_bootstrap.py::test_native_equals_the_reference",
    ),
    Fault(
        "bootstrap: the bounds are one replicate too wide",
        "python/dqcore/bootstrap.py",
        "ordered[k - 1], ordered[len(values) - k]",
        "ordered[0], ordered[len(values) - 1]",
        "tests/test_bootstrap.py",
    ),
    # ---- consistent noise ----
    Fault(
        "consistent: a pair is tested against plain symmetry",
        "python/dqcore/consistent.py",
        "weight = ratio * np.maximum",
        "weight = np.maximum",
        "tests/test_consistent.py::test_without_the_instruction_nothing_is_significant",
    ),
    Fault(
        "consistent: the sizes of classes are not looked at",
        "python/dqcore/consistent.py",
        'weight = ratio * np.maximum(of_class[pairs["true"]] / of_class[pairs["given"]], 1.0)',
        "weight = np.full(len(pairs), ratio)",
        "tests/test_consistent.py::test_random_flips_in_classes_of_any_size_are_not_consistent",
    ),
    Fault(
        "consistent: mutual edges are counted once",
        "python/dqcore/reference/consistent.py",
        "return Joins(joins, edges, edges + twice, square)",
        "return Joins(joins, edges, edges, square)",
        "tests/test_consistent.py::test_moments_of_joins_are_those_of_permutations",
    ),
    Fault(
        "consistent: rows of no known source are counted",
        "python/dqcore/reference/consistent.py",
        "counted = (sources >= 0) & (guesses >= 0)",
        "counted = guesses >= 0",
        "tests/test_consistent.py::test_unknown_sources_are_left_out",
    ),
    # ---- multi-label, and cleanlab's names ----
    Fault(
        "multilabel: the average begins with the least score",
        "python/dqcore/reference/multilabel.py",
        "ordered = np.sort(scores, axis=1)",
        "ordered = -np.sort(-scores, axis=1)",
        "tests/test_multilabel.py::test_scores_together",
    ),
    Fault(
        "cleanlab: the entropy's limit is kept",
        "python/dqcore/cleanlab/rank.py",
        "and not corrected and p.shape[1] > 1",
        "and corrected and p.shape[1] > 1",
        "tests/test_cleanlab.py::TestCorrected",
    ),
    Fault(
        "cleanlab: rows are removed by its own arithmetic",
        "python/dqcore/cleanlab/filter.py",
        'if remove is not None and corrected and filter_by != "prune_by_class":',
        "if False:",
        "tests/test_cleanlab.py::TestCorrected",
    ),
    Fault(
        "cleanlab: the diagonal of a joint has no floor",
        "python/dqcore/cleanlab/count.py",
        "        np.fill_diagonal(joint, np.maximum(counts.diagonal(), 1))",
        "        np.fill_diagonal(joint, counts.diagonal())",
        "tests/test_cleanlab.py::test_every_function_on_random_data",
    ),
    # ---- joint ----
    Fault(
        "joint: the floor of a threshold is lost",
        "cpp/joint/thresholds.cpp",
        "std::max(static_cast<double>(sums[c]) / total, kLeastThreshold)",
        "static_cast<double>(sums[c]) / total",
        "tests/test_joint.py::test_thresholds_have_a_floor",
    ),
    Fault(
        "joint: a class without rows can be confident",
        "cpp/joint/joint.h",
        "kNeverConfident = 2.0",
        "kNeverConfident = 2e-6",
        "tests/test_joint.py::test_a_class_without_rows",
    ),
    Fault(
        "joint: a threshold is rounded down to a float",
        "cpp/joint/pass.h",
        "low_[c] = round_up<T>(thresholds[c] - kTolerance);",
        "low_[c] = static_cast<T>(thresholds[c] - kTolerance);",
        "tests/test_joint.py::test_user_thresholds_at_the_very_edge",
    ),
    Fault(
        "joint: the last of equal probabilities is the argmax",
        "cpp/simd/joint.inl",
        "C::choose(C::above(x, f.greatest), C::whole(c), f.argmax)",
        "C::choose(C::at_least(x, f.greatest), C::whole(c), f.argmax)",
        "tests/test_joint.py::test_every_row_is_confident_of_every_class",
    ),
    Fault(
        "joint: the repeated classes of the last group count twice",
        "cpp/simd/joint.inl",
        "for (int64_t g = c - at; g < C::kGroup; ++g, ++c) {",
        "c = at;\n        for (int64_t g = 0; g < C::kGroup; ++g, ++c) {",
        "tests/test_joint.py::test_coarse_data_equals_the_reference",
    ),
    Fault(
        "joint: one worker's rows are not merged",
        "cpp/joint/counts.cpp",
        "for (const Table& table : tables) table.add_to(state);",
        "tables[0].add_to(state);",
        "tests/test_joint.py::test_many_rows_equal_the_reference",
    ),
    Fault(
        "joint: of two confident classes in one register the last is the guess",
        "cpp/simd/joint.inl",
        "(bits != 0 ? 1u : 0u) + ((bits & (bits - 1)) != 0 ? 1u : 0u)",
        "(bits != 0 ? 1u : 0u)",
        "tests/test_joint.py::test_smooth_data_equals_the_reference",
    ),
    Fault(
        "joint: rows that no class is confident of are no rows of their class",
        "cpp/joint/counts.cpp",
        "unsure[g] += from[g * (n + 1)];",
        "unsure[g] += 0 * from[g * (n + 1)];",
        "tests/test_joint.py::test_smooth_data_equals_the_reference",
    ),
    Fault(
        "joint: rows whose argmax is the given class are never asked for",
        "cpp/joint/class_selections.h",
        "return own_ || least_bar_ <= 0.0;",
        "return own_ != 0;",
        "tests/test_joint.py::test_coarse_data_equals_the_reference",
    ),
    Fault(
        "joint: the filter of a class lies above its bar",
        "cpp/joint/class_selections.h",
        "static_cast<T>(best_[b].bar() - kFilterSlack)",
        "static_cast<T>(best_[b].bar() + 0.1)",
        "tests/test_joint.py::test_coarse_data_equals_the_reference",
    ),
    Fault(
        "joint: selections that lack rows are taken as they are",
        "python/dqcore/joint_passes.py",
        "        if lacking:",
        "        if False:",
        "tests/test_sources.py::test_rows_that_do_not_foretell_the_rest_are_looked_at_again",
    ),
    Fault(
        "joint: the flags are told anew at each turn",
        "python/dqcore/joint_passes.py",
        "        into = NO_COLUMNS",
        "        into = columns",
        "tests/test_sources.py::test_selections_take_turns_where_the_limit_has_no_room_for_all",
    ),
    Fault(
        "resume: a part that has been counted is counted again",
        "python/dqcore/joint_passes.py",
        "sums, done = together(sums, more_sums), done + 1",
        "sums, done = together(sums, more_sums), done",
        "tests/test_resume.py::test_a_call_goes_on_where_it_was_stopped",
    ),
    Fault(
        "resume: blocks of the issue pass are read again",
        "python/dqcore/issue_snapshots.py",
        'self._files, self.done = found["files"], found["done"]',
        "self._files, self.done = [], 0",
        "tests/test_resume.py::test_blocks_of_the_issue_pass_are_read_once",
    ),
    Fault(
        "resume: what was told of rows is not put back",
        "python/dqcore/issue_snapshots.py",
        "column[...] = next(values)",
        "next(values)",
        "tests/test_resume.py::test_blocks_of_the_issue_pass_are_read_once",
    ),
    Fault(
        "resume: rows of other blocks are taken",
        "python/dqcore/issue_snapshots.py",
        '!= {"what": self._what, "end": end}:',
        "is None:",
        "tests/test_resume.py::test_an_issue_pass_of_other_blocks_begins_anew",
    ),
    Fault(
        "resume: bars are forgotten, and with them what was let go",
        "cpp/joint/class_selections.h",
        "    void resume(Candidate bar) { bar_ = bar; }",
        "    void resume(Candidate) {}",
        "tests/test_resume.py::test_rows_that_are_looked_at_again_go_on",
    ),
    Fault(
        "resume: the lock is held as long as the error is",
        "python/dqcore/joint_passes.py",
        "            self.checkpoint.close()",
        "            pass",
        "tests/test_full_disk.py::test_a_checkpoint_may_be_taken_up_where_the_error_is_still_held",
    ),
    Fault(
        "save: what C's streams could not write is overlooked",
        "python/dqcore/audit/store.py",
        "write_array(_Plain(file), array",
        "write_array(file, array",
        "tests/test_full_disk.py::test_a_limit_of_file_sizes_tears_no_saved_audit",
    ),
    Fault(
        "checkpoint: an unfinished part is left lying about",
        "python/dqcore/checkpoint.py",
        "            temporary.unlink(missing_ok=True)\n        self._stored",
        "            pass\n        self._stored",
        "tests/test_full_disk.py::test_calls_that_are_refused",
    ),
    Fault(
        "resume: a damaged part is taken",
        "python/dqcore/checkpoint.py",
        "if head != _MAGIC + digest.digest():",
        "if head[:4] != _MAGIC:",
        "tests/test_resume.py::test_damaged_checkpoints_are_refused",
    ),
    Fault(
        "sources: the rows of a later block are told as if they began at 0",
        "python/dqcore/joint_passes.py",
        "(off, begin + worst, total)",
        "(off, worst, total)",
        "tests/test_joint_pieces.py::test_bad_values_and_row_sums_are_told_of_all_rows",
    ),
    Fault(
        "sources: the pages of a private map are dropped too",
        "python/dqcore/sources/source.py",
        "return owner if shared else None",
        "return owner",
        "tests/test_joint_pieces.py::test_a_memory_map_is_read_and_left_as_it_was",
    ),
    Fault(
        "sources: of workers, the first alone is counted",
        "python/dqcore/joint_passes.py",
        "    for other in states[1:]:\n",
        "    for other in states[2:]:\n",
        "tests/test_sources.py::test_every_filter_and_score_gives_the_bits_of_the_array",
    ),
    Fault(
        "sources: a block is read where the one before began",
        "python/dqcore/sources/source.py",
        "self._offset + begin * self._row_bytes",
        "self._offset + max(begin - 1, 0) * self._row_bytes",
        "tests/test_sources.py::test_a_file_gives_the_bits_of_the_array",
    ),
    Fault(
        "sources: a file that grows is not noticed",
        "python/dqcore/sources/files.py",
        "return status.st_size, status.st_mtime_ns, status.st_ino",
        "return 0, 0, status.st_ino",
        "tests/test_sources.py::test_a_file_that_changes_is_an_error_that_names_it",
    ),
    Fault(
        "sources: another file of the name is not noticed",
        "python/dqcore/sources/files.py",
        "named = _likeness(os.stat(self.path))",
        "named = now",
        "tests/test_sources.py::test_a_file_that_changes_is_an_error_that_names_it",
    ),
    Fault(
        "sources: a short read is taken for a whole one",
        "python/dqcore/sources/files.py",
        "            done += got\n",
        "            done = len(into)\n",
        "tests/test_sources.py::test_short_reads_are_gone_on_with",
    ),
    Fault(
        "sources: what a header says is not held against the file",
        "python/dqcore/sources/source.py",
        "if need > file.size - offset:",
        "if need < 0:",
        "tests/test_sources.py::test_hostile_headers_of_safetensors",
    ),
    Fault(
        "sources: an open selection is not cut before it is merged",
        "cpp/joint/stream.cpp",
        "                one.cut();\n",
        "",
        "tests/test_sources.py::test_what_many_selections_hold_is_cut_and_merged",
    ),
    Fault(
        "joint: estimates that converge take the noise matrix for its inverse",
        "python/dqcore/reference/latent.py",
        "clip_noise((noise * prior).T /",
        "clip_noise((noise * prior) /",
        "tests/test_joint_latent.py::test_latent_estimates_equal_cleanlab",
    ),
    Fault(
        "joint: the issues of classes are told by class, not by quality",
        "python/dqcore/reference/latent.py",
        '    order = np.argsort(quality, kind="stable")\n    return',
        "    order = np.arange(len(quality))\n    return",
        "tests/test_joint_latent.py::test_health_and_class_quality_equal_cleanlab",
    ),
    Fault(
        "joint: equal remainders go to the higher class",
        "cpp/joint/calibrate.cpp",
        "return x > y || (x == y && a < b);",
        "return x > y || (x == y && a > b);",
        "tests/test_joint.py::test_the_calibrated_joint_keeps_row_totals_and_breaks_ties_low",
    ),
    Fault(
        "joint: equal margins go to the higher row",
        "cpp/joint/issue_state.h",
        "return a.key > b.key || (a.key == b.key && a.row < b.row);",
        "return a.key > b.key || (a.key == b.key && a.row > b.row);",
        "tests/test_joint.py::test_coarse_data_equals_the_reference",
    ),
    Fault(
        "joint: a row whose label is as probable as any is flagged",
        "cpp/joint/issue_state.cpp",
        "mask[i] = (mask[i] & wanted) == wanted && !(mask[i] & joint::kAsGiven);",
        "mask[i] = (mask[i] & wanted) == wanted;",
        "tests/test_joint_cleanlab.py",
    ),
    Fault(
        "joint: a bad value is found by the first worker alone",
        "cpp/joint/pass.h",
        "            faults.merge(hand.faults);\n",
        "            if (faults.count == 0) faults = hand.faults;\n",
        "tests/test_joint_inputs.py::test_bad_values_of_all_threads_are_counted",
    ),
    Fault(
        "joint: bad input leaves half of a piece behind",
        "cpp/joint/counts.cpp",
        "    JointState fresh = like(state);\n    const RowSums sums = count(fresh, in, run);\n"
        "    state.merge(fresh);\n",
        "    const RowSums sums = count(state, in, run);\n",
        "tests/test_joint_states.py::test_bad_input_leaves_a_table_that_all_workers_share_as_it_was",
    ),
    Fault(
        "joint: candidates read from bytes are not checked",
        "cpp/joint/issue_state.cpp",
        "        check_best(state.best[s], state.plan.take[s], state.pieces, rows_elsewhere);\n",
        "",
        "tests/test_joint_states.py::test_hostile_bytes_with_a_right_checksum_do_no_harm",
    ),
    # ---- the main job ----
    Fault(
        "audit: the old result goes before the new one is there",
        "python/dqcore/audit/save.py",
        "            _exchange(temporary, target)\n",
        "            shutil.rmtree(target)\n            temporary.rename(target)\n",
        "tests/test_audit.py::test_killed_at_each_step_it_leaves_a_whole_result",
    ),
    Fault(
        "audit: folders of others are replaced",
        "python/dqcore/audit/save.py",
        "    if any(target.iterdir()) and not is_ours(target):\n",
        "    if False:\n",
        "tests/test_audit.py::test_result_is_replaced_as_a_whole_and_nothing_else_is_touched",
    ),
    Fault(
        "audit: a file's size is not checked before memory is asked for",
        "python/dqcore/audit/load.py",
        "    if wanted > limit:\n",
        "    if False:\n",
        "tests/test_audit.py::test_size_is_checked_before_memory_is_asked_for",
    ),
    Fault(
        "audit: a name acts on the terminal",
        "python/dqcore/audit/text.py",
        "c if c.isprintable() else _escape(c)",
        "c",
        "tests/test_audit.py::test_hostile_names_survive_and_cannot_act",
    ),
    Fault(
        "audit: NaN in JSON",
        "python/dqcore/audit/report.py",
        "return value if np.isfinite(value) else None",
        "return value",
        "tests/test_audit.py::test_no_rows",
    ),
    Fault(
        "audit: a bound that is reached exits with 0",
        "python/dqcore/audit/cli.py",
        "return BOUND_REACHED if lines else OK",
        "return OK",
        "tests/test_cli.py::test_fail_on",
    ),
    Fault(
        "audit: a row's own label votes in the demo",
        "python/dqcore/audit/demo.py",
        "labels[graph.indices.ravel()]",
        "labels[rows]",
        "tests/test_demo.py::test_probabilities_come_from_the_labels_as_they_stand",
    ),
    Fault(
        "audit: a name becomes a formula",
        "python/dqcore/audit/table.py",
        "[safe(name) for name in names]",
        "list(names)",
        "tests/test_output.py::test_no_cell_of_the_csv_starts_a_formula",
    ),
    Fault(
        "audit: a bound that the interval holds is decided",
        "python/dqcore/audit/findings.py",
        '"above" if low > b else "not decided"',
        '"above"',
        "tests/test_findings.py::test_verdicts_admit_what_the_interval_leaves_open",
    ),
    Fault(
        "audit: a confusion is its own opposite",
        "python/dqcore/audit/findings.py",
        "opposite = suggested * n_classes + given",
        "opposite = given * n_classes + suggested",
        "tests/test_findings.py::test_confusions_have_a_share_and_a_direction",
    ),
    Fault(
        "audit: a row of no part leaks",
        "python/dqcore/audit/copies.py",
        "counted = (group >= 0) & (labels >= 0)",
        "counted = group >= 0",
        "tests/test_findings.py::test_conflicting_is_more_than_one_label_in_a_group",
    ),
    Fault(
        "audit: an empty class is the smallest",
        "python/dqcore/audit/balance.py",
        "present.max() / present.min()",
        "present.max() / max(1, counts.min())",
        "tests/test_findings.py::test_balance_by_hand",
    ),
    Fault(
        "audit: what was saved need not fit together",
        "python/dqcore/audit/store.py",
        "        _check_parts(found)\n",
        "",
        "tests/test_audit.py::test_a_forged_result_is_refused_or_harmless",
    ),
    # ---- slices and audits within a limit ----
    Fault(
        "within a limit: cells that occur are not watched",
        "cpp/slices/state.cpp",
        "if (held + 2 * largest > most_bytes) return false;",
        "if (held + 2 * largest > most_bytes && most_bytes < 0) return false;",
        "tests/test_slice_passes.py::test_crossings_of_which_only_the_cells_that_occur_are_held",
    ),
    Fault(
        "within a limit: slices are not counted against it",
        "cpp/slices/state.cpp",
        "if (static_cast<int64_t>(out.size.size()) == most_slices) no_room();",
        "if (most_slices < 0) no_room();",
        "tests/test_slice_passes.py::test_crossings_of_which_only_the_cells_that_occur_are_held",
    ),
    Fault(
        "within a limit: missing codes stay missing",
        "python/dqcore/slice_rows.py",
        "absent = whole < 0",
        "absent = whole < -1",
        "tests/test_slice_passes.py::test_the_same_bytes_for_any_source_limit_and_threads",
    ),
    Fault(
        "within a limit: distinct values of the last block alone",
        "python/dqcore/slice_rows.py",
        "np.unique(np.concatenate(self._parts))",
        "self._parts[-1]",
        "tests/test_slice_passes.py::test_the_same_bytes_for_any_source_limit_and_threads",
    ),
    Fault(
        "within a limit: the last bad row is told",
        "python/dqcore/slice_rows.py",
        "first = min(self.bad, bad,",
        "first = max(self.bad, bad,",
        "tests/test_slice_passes.py::test_bad_values_are_named_as_in_memory",
    ),
    Fault(
        "within a limit: each block of the bootstrap is the first",
        "python/dqcore/joint_blocks.py",
        "state.add(labels[begin:end], p, begin)\n            self._watch",
        "state.add(labels[begin:end], p, 0)\n            self._watch",
        "tests/test_audit_limits.py::test_functions_of_probabilities_over_blocks",
    ),
    Fault(
        "within a limit: replicates are not counted against it",
        "python/dqcore/joint_blocks.py",
        "if need > room:",
        "if need > room + (1 << 40):",
        "tests/test_audit_limits.py::test_what_cannot_be",
    ),
    Fault(
        "within a limit: what is made of the graph is not counted",
        "python/dqcore/audit/audit.py",
        "if limit < need:",
        "if limit < 0:",
        "tests/test_audit_limits.py::test_what_cannot_be",
    ),
    Fault(
        "within a limit: near rows of the first block alone",
        "python/dqcore/reference/neighbours.py",
        "        rows += begin\n",
        "",
        "tests/test_audit_limits.py::test_near_duplicates_are_joined_some_at_a_time",
    ),
    Fault(
        "within a limit: the map is of other rows",
        "python/dqcore/audit/projection.py",
        "array._rows(row, row + 1, one)",
        "array._rows(row // 2, row // 2 + 1, one)",
        "tests/test_audit_limits.py::test_the_same_is_found_within_any_limit",
    ),
    # ---- neighbours ----
    Fault(
        "neighbours: copies count in the usual distance",
        "python/dqcore/reference/neighbours.py",
        "apart = (distances > 0.0) & np.isfinite(distances)",
        "apart = np.isfinite(distances)",
        "tests/test_neighbours.py::test_holding_every_row_several_times_changes_no_radius",
    ),
    Fault(
        "neighbours: the radius itself is near",
        "python/dqcore/reference/neighbours.py",
        "(distances < radius)",
        "(distances <= radius)",
        "tests/test_neighbours.py::test_the_radius_itself_is_not_near",
    ),
    Fault(
        "neighbours: a component is left half joined",
        "python/dqcore/reference/neighbours.py",
        "        if not between.any():\n",
        "        if between.sum() < 2:\n",
        "tests/test_neighbours.py::test_groups_are_the_connected_components",
    ),
    Fault(
        "neighbours: rows amid their copies have a say in the quartiles",
        "python/dqcore/reference/neighbours.py",
        "usual = mean[(mean > 0.0) & np.isfinite(mean)]",
        "usual = mean[np.isfinite(mean)]",
        "tests/test_neighbours.py::test_copies_do_not_make_outliers_of_all_others",
    ),
    Fault(
        "similar: confirmed rows vote as they were labelled",
        "python/dqcore/reference/similar.py",
        "    corrected[confirmed] = truth\n",
        "",
        "tests/test_similar.py::test_confirmed_rows_vote_as_corrected",
    ),
    Fault(
        "similar: paths follow edges one way only",
        "python/dqcore/reference/similar.py",
        "        into = np.flatnonzero(changed[ends])\n",
        "        into = out[:0]\n",
        "tests/test_similar.py::test_as_the_definition_says",
    ),
    # ---- knn ----
    Fault(
        "page: names are not escaped",
        "python/dqcore/audit/html.py",
        "autoescape=True",
        "autoescape=False",
        "tests/test_report_html.py::test_nothing_in_it_runs_or_is_fetched",
    ),
    Fault(
        "page: names in pictures are not escaped",
        "python/dqcore/audit/svg.py",
        "return escape(self._names[int(token[1])] if token else text)",
        "return self._names[int(token[1])] if token else text",
        "tests/test_report_html.py::test_nothing_in_it_runs_or_is_fetched",
    ),
    Fault(
        "page: the words for a picture are not quoted",
        "python/dqcore/audit/svg.py",
        "aria-label={quoteattr(label)}",
        'aria-label="{label}"',
        "tests/test_report_html.py::test_nothing_in_it_runs_or_is_fetched",
    ),
    Fault(
        "page: the caller's settings of matplotlib reach it",
        "python/dqcore/audit/svg.py",
        "        matplotlib.rcdefaults()\n",
        "",
        "tests/test_report_html.py::test_settings_of_matplotlib_do_not_reach_it",
    ),
    Fault(
        "page: a missing package is not named",
        "python/dqcore/audit/html.py",
        "        raise ImportError(reason)\n",
        "        pass\n",
        "tests/test_report_html.py::test_without_the_extra_the_page_is_refused_by_name",
    ),
    Fault(
        "knn: a tie goes to the higher index",
        "cpp/knn/lists.h",
        "(key == keys[at - 1] && id < ids[at - 1])",
        "(key == keys[at - 1] && id > ids[at - 1])",
        "tests/test_knn.py::test_the_last_place_in_a_list_goes_to_the_lowest_of_those_tied",
    ),
    Fault(
        "knn: level 2 in a file keeps what lay there before",
        "cpp/knn/points.cpp",
        "            near.room()->write(near.at(begin * near_dims), scratch.near,",
        "            near.room()->write(near.at(0), scratch.near,",
        "tests/test_knn_files.py::test_same_bytes_for_limits_and_threads",
    ),
    Fault(
        "knn: rows laid in order keep the names of before",
        "cpp/knn/spill.cpp",
        "    names = std::move(ordered_names);\n",
        "",
        "tests/test_knn_files.py::test_same_bytes_for_limits_and_threads",
    ),
    Fault(
        "knn: what was used of a file is never given back",
        "cpp/knn/room.cpp",
        "    if (full(count_.load())) give_back();\n",
        "",
        "tests/test_knn_files.py::test_the_peak_holds_the_limit",
    ),
    Fault(
        "knn: of rows swept again in parts, the first part alone",
        "cpp/knn/guess.cpp",
        "from += most) {",
        "from += rows.size()) {",
        "tests/test_knn_files.py::test_guesses_too_low_are_swept_again",
    ),
    Fault(
        "knn: bad values of later blocks are not counted",
        "python/dqcore/passes.py",
        "count = sum(entry[3] for entry in of_blocks)",
        "count = of_blocks[0][3]",
        "tests/test_knn_files.py::test_bad_rows_are_named_as_in_memory",
    ),
    Fault(
        "blocks: queries are kept from the rows of their own number",
        "python/dqcore/knn_blocks.py",
        "own = begin if search.queries is None else -1",
        "own = begin",
        "tests/test_knn_blocks.py::test_same_bytes_for_limits_and_threads",
    ),
    Fault(
        "blocks: a row is its own neighbour",
        "cpp/knn/graph.cpp",
        "return in.row_start < 0 ? -1 : in.row_start +",
        "return in.row_start < 0 ? -1 : -1 - in.row_start +",
        "tests/test_knn_blocks.py::test_tasks_give_the_same_graph",
    ),
    Fault(
        "blocks: a row without a direction is its own neighbour",
        "cpp/knn/sweep.cpp",
        "if (in.row_start < 0 || in.row_start + i != name)",
        "if (name >= 0)",
        "tests/test_knn_blocks.py::test_tasks_give_the_same_graph",
    ),
    Fault(
        "blocks: they are larger than the limit has room for",
        "python/dqcore/knn_blocks.py",
        "needs(rows, base) <= search.limit",
        "needs(rows, base) <= 4 * search.limit",
        "tests/test_knn_blocks.py::test_the_peak_holds_the_limit",
    ),
    Fault(
        "blocks: bad rows are let through",
        "python/dqcore/knn_blocks.py",
        "finite &= _finite(to)",
        "pass",
        "tests/test_knn_blocks.py::test_bad_rows_are_named_as_in_memory",
    ),
    Fault(
        "knn: a row is its own neighbour",
        "cpp/knn/graph.cpp",
        "        if (id == self) continue;\n",
        "",
        "tests/test_knn.py::test_a_duplicate_is_a_neighbour_and_self_is_not",
    ),
    Fault(
        "knn: one member too few of a group of duplicates",
        "cpp/knn/graph.cpp",
        "std::min(size, k + 1)",
        "std::min(size, k)",
        "tests/test_knn.py::test_thousands_of_duplicates",
    ),
    Fault(
        "knn: what rounding moved is left out of the first filter's bound",
        "cpp/knn/tile.cpp",
        "as_tame = reach + rho + other_tame,",
        "as_tame = reach + 0.0f * (rho + other_tame),",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_hard_data_equals_reference",
    ),
    Fault(
        "knn: a stage does not take back the norm of the rest before it",
        "cpp/knn/bytes.cpp",
        "put(old_rest, -old_rest)",
        "put(0, 0)",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_stages_let_no_neighbour_go",
    ),
    Fault(
        "knn: a stage starts from the sums of another",
        "cpp/simd/vnni.inl",
        "        col_start += stages.start_stride;\n",
        "",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_stages_let_no_neighbour_go",
    ),
    Fault(
        "knn: the last of an odd number of rows does not reach the next stage",
        "cpp/simd/vnni.inl",
        "for (int64_t t = 0; t < count; t += 2) {",
        "for (int64_t t = 0; t + 1 < count; t += 2) {",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_stages_let_no_neighbour_go",
    ),
    Fault(
        "knn: a lane of columns is tested by the greatest of its limits, not the least",
        "cpp/simd/vnni.inl",
        "least = _mm512_min_epi32(",
        "least = _mm512_max_epi32(",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_stages_let_no_neighbour_go",
    ),
    Fault(
        "knn: without VNNI, a stage starts from the sums of another",
        "cpp/simd/bytes.inl",
        "        col_start += stages.start_stride;\n",
        "",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_stages_let_no_neighbour_go",
    ),
    Fault(
        "knn: without VNNI, only the first block of a row's columns goes on",
        "cpp/simd/bytes.inl",
        "open != 0; open &= open - 1",
        "open != 0; open = 0",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph",
    ),
    Fault(
        "knn: without VNNI, products of bytes overflow 16 bits",
        "cpp/simd/avx2.cpp",
        "kMost = 63;",
        "kMost = 127;",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_rows_beyond_the_range_of_int8",
    ),
    Fault(
        "knn: int8 coordinates beyond the range wrap around",
        "cpp/knn/bytes.cpp",
        "std::min(most_, std::max(-most_, value))",
        "value",
        "tests/test_knn.py::test_rows_beyond_the_range_of_int8",
    ),
    Fault(
        "knn: a pair has to be near for both of its rows",
        "cpp/knn/tile.cpp",
        "    return std::max(left_.near_limit[static_cast<size_t>(pair.i - left_.begin)],",
        "    return std::min(left_.near_limit[static_cast<size_t>(pair.i - left_.begin)],",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_many_blocks_same_bytes_for_any_threads",
    ),
    Fault(
        "knn: the sweep skips a pair that is near enough for one of its blocks",
        "cpp/knn/sweep.cpp",
        "gap > most_reach(points, begin_l, end_l) && gap > most_reach(points, begin_r, end_r)",
        "gap > most_reach(points, begin_l, end_l) || gap > most_reach(points, begin_r, end_r)",
        "tests/test_knn.py::test_rows_far_from_all_the_rest",
    ),
    Fault(
        "knn: the reach is the last but one of the upper bounds",
        "cpp/knn/shortlist.cpp",
        "list[k_ - 1].most}",
        "list[k_ > 1 ? k_ - 2 : 0].most}",
        "tests/test_knn.py::test_hard_data_equals_reference",
    ),
    Fault(
        "knn: what underflows in a bound is not taken back from it",
        "cpp/knn/points.cpp",
        "std::sqrt(double{near_underflow}) - 2.0 * moved;",
        "2.0 * moved;",
        "tests/test_knn.py::test_rows_at_no_distance_whatever_met_first",
    ),
    Fault(
        "knn: a row that may be anywhere is taken to be far away",
        "cpp/knn/points.cpp",
        "return true;  // it may be anywhere",
        "return false;  // it may be anywhere",
        "tests/test_knn.py::test_a_query_so_far_that_all_keys_are_equal",
    ),
    Fault(
        "knn: a pair is dropped by its upper bound, not its lower one",
        "cpp/knn/points.cpp",
        "    return !(least > reach[i]);\n",
        "    return !(most * 1.001f + static_cast<float>(0.0 * least) > reach[i]);\n",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_hard_data_equals_reference",
    ),
    Fault(
        "knn: what level 2 leaves out does not count in the upper bound",
        "cpp/knn/points.cpp",
        "most = apart + left_out[i] + others.left_out[j];",
        "most = apart * (1.0 - 0x1p-10);",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph tests/test_knn.py::test_hard_data_equals_reference",
    ),
    Fault(
        "knn: rows guessed too near are not swept again",
        "cpp/knn/guess.cpp",
        "    if (rows.empty()) return {};\n",
        "    if (!rows.empty()) return {.again = 1};\n    if (rows.empty()) return {};\n",
        "tests/test_knn.py::test_rows_whose_neighbours_are_farther_than_guessed",
    ),
    Fault(
        "knn: rows without a direction are met in the sweep",
        "cpp/knn/points.cpp",
        "                    reach[at] = kNoReach;\n",
        "",
        "tests/test_knn.py::test_every_plan_gives_the_same_graph",
    ),
    Fault(
        "knn: a cosine key is not clamped at zero",
        "cpp/knn/keys.h",
        "std::min(2.0, std::max(0.0, cosine))",
        "std::min(2.0, cosine)",
        "tests/test_knn.py::test_rows_along_one_direction",
    ),
    Fault(
        "knn: a merge loses each list's last neighbour",
        "cpp/knn/state.cpp",
        "for (int64_t t = 0; t < k() && other",
        "for (int64_t t = 0; t < k() - 1 && other",
        "tests/test_knn.py::test_any_split_order_and_merge_gives_the_same_graph",
    ),
    Fault(
        "knn: the gaussian's width ignores labelled_only",
        "cpp/knn/disagreement.cpp",
        "if (voter >= 0 || !in_.labelled_only) sigma = distance;",
        "sigma = distance;",
        "tests/test_knn_disagreement.py::test_labelled_only_changes_the_gaussian_width",
    ),
    Fault(
        "knn: a balanced vote counts the row among its own voters",
        "cpp/knn/votes.h",
        "rows_of_class - (c == given ? 1 : 0);",
        "rows_of_class - (c < 0 ? 1 : 0);",
        "tests/test_knn_disagreement.py::test_equals_reference",
    ),
    # ---- joint ----
    Fault(
        "joint: a threshold has no floor",
        "cpp/joint/thresholds.cpp",
        "std::max(static_cast<double>(sums[c]) / total, kLeastThreshold)",
        "static_cast<double>(sums[c]) / total",
        "tests/test_joint.py::test_thresholds_have_a_floor",
    ),
    Fault(
        "joint: every row is confident of a class without rows",
        "cpp/joint/thresholds.cpp",
        "thresholds(sums.size(), kNeverConfident)",
        "thresholds(sums.size(), kLeastThreshold)",
        "tests/test_joint.py::test_a_class_without_rows",
    ),
    Fault(
        "joint: one worker's sums are lost",
        "cpp/joint/thresholds.cpp",
        "if (all.count == 0) state.merge(states[w]);",
        "if (all.count == 0 && w != 1) state.merge(states[w]);",
        "tests/test_joint.py::test_threads_and_blocks_change_nothing",
    ),
    Fault(
        "joint: confident only above the threshold, not at it",
        "cpp/joint/pass.h",
        "low_[c] = round_up<T>(thresholds[c] - kTolerance);",
        "low_[c] = std::nextafter(round_up<T>(thresholds[c] - kTolerance), T(2));",
        "tests/test_joint.py::test_user_thresholds_at_the_very_edge",
    ),
    Fault(
        "joint: the tolerance of confidence is forgotten",
        "cpp/joint/pass.h",
        "low_[c] = round_up<T>(thresholds[c] - kTolerance);",
        "low_[c] = round_up<T>(thresholds[c]);",
        "tests/test_joint.py::test_the_tolerance_of_confidence",
    ),
    Fault(
        "joint: the collision rules are exchanged",
        "cpp/joint/pass.h",
        "collision == Collision::kConfident;",
        "collision != Collision::kConfident;",
        "tests/test_joint.py::test_the_two_collision_rules_differ_where_the_argmax_is_not_confident",
    ),
    Fault(
        "joint: a tie in rounding goes to the higher class",
        "cpp/joint/calibrate.cpp",
        "(x == y && a < b)",
        "(x == y && a > b)",
        "tests/test_joint.py::test_the_calibrated_joint_keeps_row_totals_and_breaks_ties_low",
    ),
    Fault(
        "joint: calibration forgets the floor of the diagonal",
        "cpp/joint/calibrate.h",
        "return g == t ? std::max(count, 1.0) : count;",
        "return count;",
        "tests/test_joint.py::test_calibration_equals_the_reference",
    ),
    Fault(
        "joint: the veto is dropped",
        "cpp/joint/issue_pass.h",
        "return raised > top || (raised == top && label < argmax);",
        "return false;",
        "tests/test_joint.py::test_coarse_data_equals_the_reference",
    ),
    Fault(
        "joint: the margin's rival may be the given class",
        "cpp/joint/quality.h",
        "argmax == label ? runner_up : p[argmax]",
        "p[argmax]",
        "tests/test_joint.py::test_coarse_data_equals_the_reference",
    ),
    Fault(
        "joint: a probability may be anything below 1",
        "cpp/joint/pass.h",
        "return p >= -kTolerance && p <= 1.0 + kTolerance;",
        "return p <= 1.0 + kTolerance;",
        "tests/test_joint_inputs.py::test_the_range_has_a_tolerance_of_1e_6 "
        "tests/test_joint_inputs.py::test_the_first_bad_value_is_named",
    ),
    Fault(
        "joint: a label out of range is believed",
        "cpp/joint/pass.h",
        "if (label < 0 || label >= n_classes) [[unlikely]]",
        "if (label < 0 || label > n_classes) [[unlikely]]",
        "tests/test_inputs.py::test_a_kernel_checks_a_label_as_it_reads_it",
    ),
    Fault(
        "joint: states of other thresholds merge",
        "cpp/joint/counts.cpp",
        "if (thresholds[c] != other.thresholds[c])",
        "if (false)",
        "tests/test_joint_states.py::test_states_that_differ_refuse_to_merge",
    ),
    Fault(
        "joint: fixed point rounds where it should take the floor",
        "cpp/base/fixed_point.h",
        "const double low = std::floor((scaled - high) * 0x1p32);",
        "const double low = std::nearbyint((scaled - high) * 0x1p32);",
        "tests/test_joint.py::test_weights_equal_the_reference",
    ),
    # ---- slices ----
    Fault(
        "slices: what another worker counted is lost",
        "cpp/slices/state.cpp",
        "            tables_->merge(*partial->tables);\n",
        "",
        "tests/test_slices.py::test_no_thread_count_changes_a_bit",
    ),
    Fault(
        "slices: rows beyond the last full chunk are left out",
        "cpp/base/parallel.h",
        "parallel_for(run, stage, (rows + chunk_rows - 1) / chunk_rows,",
        "parallel_for(run, stage, rows > chunk_rows ? rows / chunk_rows : 1,",
        "tests/test_slices.py::test_no_thread_count_changes_a_bit tests/test_slices.py::test_native_is_the_reference "
        "tests/test_joint.py::test_many_rows_equal_the_reference",
    ),
    Fault(
        "slices: chunks follow the number of threads, and miss the remainder",
        "cpp/slices/state.cpp",
        'parallel_rows(limited, "slices", in.errors.size, kChunkRows,',
        'parallel_rows(limited, "slices", in.errors.size / limited.threads * limited.threads, kChunkRows,',
        "tests/test_slices.py::test_no_thread_count_changes_a_bit",
    ),
    Fault(
        "slices: a missing code is a category",
        "cpp/slices/state.cpp",
        "                if (table.digit(key, i) == 0) return;\n",
        "                if (table.digit(key, i) < 0) return;\n",
        "tests/test_slices.py::test_missing_codes_leave_a_slice_but_not_the_whole",
    ),
    Fault(
        "slices: the least support is not enough",
        "cpp/slices/state.cpp",
        "if (cell.size < min_support) return;",
        "if (cell.size <= min_support) return;",
        "tests/test_slices.py::test_min_support",
    ),
    Fault(
        "slices: a loss is cut off instead of rounded",
        "cpp/slices/table.h",
        "error * scale_ + 0.5;",
        "error * scale_;",
        "tests/test_slices.py::test_native_is_the_reference",
    ),
    Fault(
        "slices: Wilson's z is of one side",
        "python/dqcore/_stats.py",
        "normal_quantile(0.5 + 0.5 * confidence)",
        "normal_quantile(confidence)",
        "tests/test_slices.py::test_statistics_against_scipy tests/test_stats.py",
    ),
    Fault(
        "slices: the hypergeometric tail is off by one",
        "python/dqcore/_stats.py",
        "start = np.where(upper, x, d - (x - 1.0))",
        "start = np.where(upper, x, d - x)",
        "tests/test_slices.py::test_statistics_against_scipy tests/test_stats.py",
    ),
    Fault(
        "slices: Benjamini and Hochberg from the wrong end",
        "python/dqcore/_stats.py",
        "np.minimum.accumulate(scaled[::-1])[::-1]",
        "np.minimum.accumulate(scaled)",
        "tests/test_stats.py",
    ),
    Fault(
        "slices: without errors the lift is zero",
        "python/dqcore/_slice_counts.py",
        "else np.ones_like(rate)",
        "else np.zeros_like(rate)",
        "tests/test_slices.py::test_nothing_errs",
    ),
    # ---- the search for slices ----
    Fault(
        "search: the bound is a little too low",
        "cpp/slices/lattice.cpp",
        "std::max(most, loosened(sum * (1.0 + kRounding), weight));",
        "std::max(most, loosened(sum * (1.0 + kRounding), weight) * 0.9);",
        "tests/test_find_slices.py::test_search_is_the_enumeration",
    ),
    Fault(
        "search: the bound forgets the size where all errors are the largest",
        "cpp/slices/lattice.cpp",
        "for (const double weight : {least_weight_, turn, known.weight}) {",
        "for (const double weight : {known.weight, known.weight}) {\n        (void)turn;",
        "tests/test_find_slices.py::test_search_is_the_enumeration",
    ),
    Fault(
        "search: a slice that only ties with the last of the best is left out",
        "cpp/slices/search.cpp",
        "return bound > 0.0 && bound >= threshold_;",
        "return bound > 0.0 && bound > threshold_ * (1.0 + 1e-9);",
        "tests/test_find_slices.py::test_search_is_the_enumeration",
    ),
    Fault(
        "search: of equal scores the later found is the better",
        "cpp/slices/search.cpp",
        "a.score > b.score : a.predicate < b.predicate;",
        "a.score > b.score : a.predicate > b.predicate;",
        "tests/test_find_slices.py::test_search_is_the_enumeration",
    ),
    Fault(
        "search: what another worker counted is lost",
        "cpp/slices/search_count.cpp",
        "    for (const auto& mine : partial) {\n        for (size_t i = 0; i < mine.size(); ++i) sums[i].add(mine[i]);\n    }\n    return sums;\n}\n\nvoid Counter::count_block",
        "    for (size_t i = 0; i < partial[0].size(); ++i) sums[i].add(partial[0][i]);\n    return sums;\n}\n\nvoid Counter::count_block",
        "tests/test_find_slices.py::test_no_instruction_set_and_no_thread_count_changes_a_bit",
    ),
    Fault(
        "search: bits of the last stripe serve for all",
        "cpp/slices/item_bits.cpp",
        "    if (begin == begin_ && end == end_) return;\n",
        "    if (end_ > 0) return;\n",
        "tests/test_find_slices.py::test_no_instruction_set_and_no_thread_count_changes_a_bit",
    ),
    Fault(
        "search: a stopped search calls itself complete",
        "cpp/slices/search.cpp",
        "if (!make_batch(children, counts)) stop_ = Stop::kMaxCandidates;",
        "if (!make_batch(children, counts)) break;",
        "tests/test_find_slices.py::test_a_limit_is_told_and_what_was_missed_is_bounded",
    ),
    Fault(
        "search: one row less than the parent is the same rows",
        "cpp/slices/search.cpp",
        "redundant |= sums[at++].size == own.size;",
        "redundant |= sums[at++].size <= own.size + 1;",
        "tests/test_find_slices.py::test_search_is_the_enumeration",
    ),
    Fault(
        "search: weights count in the errors alone",
        "python/dqcore/_slice_counts.py",
        "        weight=weight.error_sum,\n",
        "        weight=own.weight,\n",
        "tests/test_slices.py::test_whole_weights_are_as_many_rows",
    ),
    # ---- metrics of groups ----
    Fault(
        "metrics: a column is crossed with itself",
        "cpp/slices/crossings.cpp",
        "return a >= b; }",
        "return a > b; }",
        "tests/test_metrics.py::test_crossings_that_are_none_are_refused",
    ),
    Fault(
        "metrics: Brier's score forgets the label",
        "cpp/joint/confidence.cpp",
        "(c == label ? 1.0 : 0.0)",
        "(c == 0 ? 1.0 : 0.0)",
        "tests/test_metrics.py::test_native_confidences_are_the_references",
    ),
    Fault(
        "metrics: the first group takes the whole set's place",
        "python/dqcore/metrics.py",
        "    keep[0] = True\n",
        "",
        "tests/test_metrics.py::test_what_is_shown",
    ),
    Fault(
        "metrics: recall is of those predicted positive",
        "python/dqcore/metrics.py",
        "            (both, positive),\n",
        "            (both, selected),\n",
        "tests/test_metrics.py::test_rates_are_those_of_scikit_learn",
    ),
    Fault(
        "metrics: gaps forget how many pairs they were picked from",
        "python/dqcore/_groups.py",
        "(1.0 - self.confidence) / pairs",
        "(1.0 - self.confidence)",
        "tests/test_metrics.py::test_a_gap_of_many_groups_is_told_at_a_shared_confidence",
    ),
    Fault(
        "metrics: every bin is told at the whole confidence",
        "python/dqcore/metrics.py",
        "(1.0 - confidence) / shared",
        "(1.0 - confidence)",
        "tests/test_metrics.py::test_the_interval_of_the_calibration_error_holds_the_truth",
    ),
    # ---- quality agreements ----
    Fault(
        "qa: a verdict is by the mean",
        "python/dqcore/qa.py",
        'return "pass" if low >= sla else "fail" if high < sla else "undecided"',
        'return "pass" if low + high >= 2 * sla else "fail"',
        "tests/test_qa.py::test_a_batch_that_passes_by_its_mean_is_not_decided_by_four_tasks",
    ),
    Fault(
        "qa: slices forget how many they are",
        "python/dqcore/qa.py",
        "len(table) if shared else 1",
        "1",
        "tests/test_qa.py::test_a_slice_is_told_at_a_confidence_shared_by_all",
    ),
    Fault(
        "qa: tasks of unequal weight are told as if alike",
        "python/dqcore/qa.py",
        "if not self.alike:",
        "if False:",
        "tests/test_qa.py::test_all_items_together_are_the_mean_by_weight "
        "tests/test_qa.py::test_the_interval_of_a_batch_holds_its_mean",
    ),
    Fault(
        "qa: a plan reviews one row too many",
        "python/dqcore/sampling.py",
        "while (high - low > 1).any():",
        "while (high - low > 2).any():",
        "tests/test_qa.py::test_plans_that_accept_no_error tests/test_qa.py::test_plans_are_the_smallest",
    ),
    Fault(
        "qa: a lot is drawn from with replacement",
        "python/dqcore/sampling.py",
        "lambda c, n: in_lot(c, lot, wrong, n),",
        "lambda c, n: at_most(c, n, bad),",
        "tests/test_qa.py::test_plans_are_the_smallest",
    ),
    Fault(
        "qa: a stratum counts by its rows reviewed",
        "python/dqcore/sampling.py",
        "share = rows / total",
        "share = seen / seen.sum()",
        "tests/test_qa.py::test_an_estimate_of_strata_is_cochrans",
    ),
    # ---- what comes in ----
    Fault(
        "inputs: the last row of features is not looked at",
        "python/dqcore/_check.py",
        "bad = ~np.isfinite(rounded)",
        "bad = ~np.isfinite(rounded[:-1])",
        "tests/test_knn.py::test_non_finite_features_name_the_row",
    ),
    Fault(
        "inputs: an array at an odd address reaches a kernel",
        "python/dqcore/_check.py",
        '["C_CONTIGUOUS", "ALIGNED"]',
        '["C_CONTIGUOUS"]',
        "tests/test_differential.py::test_native_is_the_reference",
    ),
    Fault(
        "inputs: a state's checksum is not looked at",
        "cpp/base/bytes.h",
        "if (crc32(bytes.substr(0, bytes.size() - 4)) != at<uint32_t>(bytes, bytes.size() - 4)) {",
        "if (bytes.empty()) {",
        "tests/test_inputs.py::test_damaged_bytes_of_a_state_are_refused",
    ),
    # ---- what is handed in ----
    Fault(
        "inputs: probabilities are taken as their columns stand",
        "python/dqcore/audit/frames.py",
        'np.ascontiguousarray(found["pred_probs"][:, order])',
        'np.ascontiguousarray(found["pred_probs"])',
        "tests/test_frames.py::test_numbered_columns_are_sorted_by_their_numbers",
    ),
    Fault(
        "inputs: a frame is not asked which column is which class",
        "python/dqcore/_check.py",
        "        return columns if found & set(columns) else None\n",
        "        return None\n",
        "tests/test_foreign.py::test_columns_named_after_classes_are_those_classes",
    ),
    Fault(
        "inputs: lists of two lengths are a matrix",
        "python/dqcore/_foreign.py",
        "    differs = lengths != lengths[0]\n",
        "    differs = lengths < 0\n",
        "tests/test_foreign.py::test_lists_that_are_no_matrix_name_the_row",
    ),
    Fault(
        "inputs: the name 07 is the number 7",
        "python/dqcore/audit/frames.py",
        'r"0|-?[1-9][0-9]{0,17}"',
        'r"-?[0-9]{1,18}"',
        "tests/test_frames.py::test_labels_are_whole_numbers_only_where_all_are_written_so",
    ),
    Fault(
        "inputs: what a table unfolds to is not counted",
        "python/dqcore/audit/frames.py",
        "            self._within(used)\n",
        "",
        "tests/test_frames.py::test_a_file_that_unfolds_to_too_much_is_refused",
    ),
    Fault(
        "inputs: a graph made by hand may have fewer distances than neighbours",
        "python/dqcore/knn.py",
        'np.float32, indices.shape, "indices")',
        'np.float32, (None, None), "indices")',
        "tests/test_hostile.py::test_a_row_too_few_or_too_many_is_refused",
    ),
    Fault(
        "inputs: a message holds the whole value",
        "python/dqcore/_check.py",
        '    return text if len(text) <= 2 * _MOST_SHOWN else text[: 2 * _MOST_SHOWN] + "..."\n',
        "    return repr(value)\n",
        "tests/test_hostile.py::test_any_value_ends_in_an_error_that_names_the_argument_or_in_the_right_result",
    ),
    # ---- the CUDA backend, on the CPU's executor ----
    Fault(
        "cuda executor: reads are not remembered",
        "cuda/shared_memory.h",
        "            note_read(mark, now);\n",
        "",
        "tests/test_cuda_executor.py",
    ),
    Fault(
        "cuda executor: a barrier of the warp orders the block",
        "cuda/shared_memory.h",
        "before.thread / kWarpThreads == now.thread / kWarpThreads &&",
        "true &&",
        "tests/test_cuda_executor.py",
    ),
    Fault(
        "cuda executor: a copy lands at once",
        "cuda/shared_memory.h",
        "mark.copying = copying;",
        "mark.copying = false;\n            mark.known = true;",
        "tests/test_cuda_executor.py",
    ),
    Fault(
        "device arrays: no word to the producer's stream",
        "cuda/host_device.h",
        "if (m && m->stream != 0) waited_for().push_back(m->stream);",
        "if (m && m->stream > 99) waited_for().push_back(m->stream);",
        "tests/test_device_arrays.py::test_the_joint_room_reads_them_where_they_are",
    ),
    Fault(
        "device arrays: the end of an array is not looked at",
        "cpp/bind/device_array.cpp",
        "last = cuda::device_of(lowest() + bytes_ - 1)",
        "last = first",
        "tests/test_device_arrays.py::test_hostile_interfaces_are_refused",
    ),
    Fault(
        "device arrays: strides that overflow",
        "cpp/bind/device_array.cpp",
        "if (__builtin_mul_overflow(said_.strides[i], said_.shape[i] - 1, &reach)) too_large();",
        "reach = said_.strides[i] * (said_.shape[i] - 1);",
        "tests/test_device_arrays.py::test_hostile_interfaces_are_refused",
    ),
    Fault(
        "cuda joint: rows that go back to the host begin at the wrong one",
        "cuda/joint.cu",
        "values_.data() + rows[i] * m_.cols",
        "values_.data() + rows[0] * m_.cols",
        "tests/test_device_arrays.py::test_every_filter_and_score",
    ),
    Fault(
        "cuda knn: votes are added lane by lane",
        "cuda/knn_votes.h",
        "                if (voter[t] == c && (!weighty || weight[t] > 0.0))\n"
        "                    votes += weighty ? weight[t] : 1.0;",
        "                if (voter[k - 1 - t] == c && (!weighty || weight[k - 1 - t] > 0.0))\n"
        "                    votes += weighty ? weight[k - 1 - t] : 1.0;",
        "tests/test_cuda_emulated_knn.py::test_disagreement",
    ),
    Fault(
        "cuda knn: no barrier before the votes are read",
        "cuda/knn_votes.h",
        "            ++classes;\n        }\n        ex.sync_warp();\n",
        "            ++classes;\n        }\n",
        "tests/test_cuda_emulated_knn.py::test_disagreement",
    ),
    Fault(
        "cuda knn: no barrier in the main loop",
        "cuda/knn_filter.h",
        "            wait<kRing - 2>(ex);\n            ex.sync();\n",
        "            wait<kRing - 2>(ex);\n",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: a step is multiplied before its copies have landed",
        "cuda/knn_filter.h",
        "wait<kRing - 2>(ex);",
        "wait<kRing - 1>(ex);",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: no barrier before the ring becomes scratch",
        "cuda/knn_filter.h",
        "        ex.sync();  // the ring becomes scratch\n",
        "",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: the ring's wrong step is multiplied",
        "cuda/knn_filter.h",
        "multiply_step(ex, ring, step % kRing * 2",
        "multiply_step(ex, ring, (step + 1) % kRing * 2",
        "tests/test_cuda_emulated_knn.py::test_more_dims_than_the_ring_holds",
    ),
    Fault(
        "cuda knn: columns are loaded as rows are",
        "cuda/knn_filter.h",
        "n * 16 + (lane & 7) + ((lane >> 4) << 3);",
        "n * 16 + (lane & 15);",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: no bound on what fp16 moves",
        "cuda/knn_filter.h",
        "point.hat * rho + point.rho * most + gamma",
        "gamma",
        "tests/test_cuda_emulated_knn.py::test_near_rows_far_from_the_centre",
    ),
    Fault(
        "cuda knn: no bound on what the tensor core cuts off",
        "cuda/knn_filter.h",
        "point.rho * most + gamma * point.hat * most +",
        "point.rho * most +",
        "tests/test_cuda_emulated_knn.py::test_what_the_tensor_core_cuts_off",
    ),
    Fault(
        "cuda knn: a pair of the diagonal is a hit twice",
        "cuda/knn_filter.h",
        "if (s - row_half >= column_alpha && !diagonal)",
        "if (s - row_half >= column_alpha && !(diagonal && row == column))",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: tiles half way round meet twice",
        "cuda/knn_tiles.h",
        "return 2 * delta != col_tiles || i < delta;",
        "return true;",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: the last stage is left out",
        "cuda/knn_graph.h",
        "join_.self ? tiles / 2 + 1 : tiles",
        "join_.self ? (tiles + 1) / 2 : tiles",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: hits that did not fit are forgotten",
        "cuda/knn_graph.h",
        "device_.launch(RankAll{join_, stage, too_many_.all()}, many, list_bytes());",
        "device_.launch(RankAll{join_, stage, too_many_.all()}, 0, list_bytes());",
        "tests/test_cuda_emulated_knn.py::test_hits_that_do_not_fit_are_done_in_full",
    ),
    Fault(
        "cuda knn: lanes are folded the other way round",
        "cuda/knn_points.h",
        "for (int m = kWarp / 2; m > 0; m /= 2) v +=",
        "for (int m = 1; m < kWarp; m *= 2) v +=",
        "tests/test_cuda_emulated_knn.py::test_the_lanes_are_folded_in_the_canonical_order",
    ),
    Fault(
        "cuda knn: ties go to the higher index",
        "cuda/knn_lists.h",
        "(key == other_key && id < other_id)",
        "(key == other_key && id > other_id)",
        "tests/test_cuda_emulated_knn.py::test_ties_go_to_the_lower_index",
    ),
    Fault(
        "cuda knn: a list is read before the warp has merged it",
        "cuda/knn_lists.h",
        "    DQCORE_DEVICE void merge() {\n        ex_.sync_warp();\n",
        "    DQCORE_DEVICE void merge() {\n",
        "tests/test_cuda_emulated_knn.py::test_any_shape",
    ),
    Fault(
        "cuda knn: long rows lie among the others",
        "cuda/knn_graph.h",
        "if (frame.metric == Metric::kEuclidean) long_rows_last(device, frame);",
        "",
        "tests/test_cuda_emulated_knn.py::test_long_rows_spoil_no_others_bounds",
    ),
    Fault(
        "sklearn: a row is not its own neighbour",
        "python/dqcore/sklearn.py",
        '        extra = _check.choice("mode", self.mode, MODES) == "distance"\n',
        '        extra = _check.choice("mode", self.mode, MODES) == "connectivity"\n',
        "tests/test_sklearn.py::test_the_graph_is_that_of_scikit_learn",
    ),
    # ---- the CUDA backend, on the CPU's executor ----
    Fault(
        "cuda: counts are read before all threads have added theirs",
        "cuda/joint_kernels.h",
        "        if (!fits) return;\n        ex.sync();\n",
        "        if (!fits) return;\n",
        "tests/test_cuda_joint.py::test_joint",
    ),
    Fault(
        "cuda: a sum's limbs overflow between flushes",
        "cuda/joint_kernels.h",
        "static constexpr int64_t kRounds = 4;",
        "static constexpr int64_t kRounds = 1 << 20;",
        "tests/test_cuda_joint.py::test_many_rows_of_one_class",
    ),
    Fault(
        "cuda: ties between lanes go to the later class",
        "cuda/joint_rows.h",
        "(v == value && c < at)",
        "(v == value && c > at)",
        "tests/test_cuda_joint.py::test_joint",
    ),
    Fault(
        "cuda: a threshold is rounded to the nearest float",
        "cuda/joint_reader.h",
        "joint::round_up<Value>(thresholds[c] - kTolerance)",
        "static_cast<Value>(thresholds[c] - kTolerance)",
        "tests/test_cuda_joint.py::test_thresholds_between_two_floats",
    ),
    Fault(
        "cuda: the second piece is taken for the first",
        "cuda/joint_reader.h",
        "if (held_ == begin && held_rows_ == n) return;",
        "if (held_ >= 0 && held_rows_ == n) return;",
        "tests/test_cuda_joint.py::test_pieces_and_strides",
    ),
    Fault(
        "cuda: tables of a group share their cells",
        "cuda/slices.cu",
        "if (near) used += static_cast<int32_t>(size);",
        "if (near) used = static_cast<int32_t>(size);",
        "tests/test_cuda_slices.py::test_slices",
    ),
    Fault(
        "cuda: the carry of a square is lost",
        "cuda/slices_kernels.h",
        "(cross >> 32) + high * high",
        "high * high",
        "tests/test_cuda_slices.py::test_slices",
    ),
]


def output(command: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `command`; a run of more than five minutes counts as failed."""
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(command, 124, str(late.stdout), str(late.stderr))


class Copy:
    """A copy of the tree with one build folder, built again after each edit."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        where = output([sys.executable, "-m", "pybind11", "--cmakedir"], folder).stdout.strip()
        flags = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O2", "-DDQCORE_CUDA=OFF"]
        python = [f"-Dpybind11_DIR={where}", f"-DPython_EXECUTABLE={sys.executable}"]
        self.must(["cmake", "-G", "Ninja", "-S", ".", "-B", "build/faults", *flags, *python])

    def must(self, command: list[str]) -> None:
        done = output(command, self.root)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed\n{done.stdout}{done.stderr}")

    def builds(self) -> str:
        """Return "" or why it does not build."""
        done = output(["cmake", "--build", "build/faults"], self.root)
        return "" if done.returncode == 0 else done.stdout[-2000:]

    def tests(self, nodes: list[str]) -> int:
        """Return pytest's exit code."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes]
        done = output(command, self.root, PYTHONPATH="build/faults", PYTHONDONTWRITEBYTECODE="1")
        self.said = done.stdout[-3000:] + done.stderr[-1000:]
        return done.returncode

    def plant(self, fault: Fault) -> str:
        """Return "caught", or what went wrong."""
        path = self.root / fault.file
        text = path.read_text()
        if text.count(fault.old) != 1:
            return f"STALE: the text is there {text.count(fault.old)} times"
        path.write_text(text.replace(fault.old, fault.new))
        try:
            why = "" if fault.file.startswith("python/") else self.builds()
            if why:
                return f"DOES NOT BUILD\n{why}"
            code = self.tests(fault.test.split())
            if code in (1, 124) or code < 0:  # failed, hung, or died of it
                return "caught"
            return "SURVIVED" if code == 0 else f"pytest ended with {code}\n{self.said}"
        finally:
            path.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name holds this")
    chosen = [f for f in FAULTS if parser.parse_args().only in f.name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        if why := copy.builds():
            sys.exit(why)
        nodes = sorted({node for fault in chosen for node in fault.test.split()})
        if copy.tests(nodes) != 0:
            sys.exit(f"the tests do not pass without a fault\n{copy.said}")
        missed = 0
        for fault in chosen:
            start = time.perf_counter()
            verdict = copy.plant(fault)
            missed += verdict != "caught"
            seconds = time.perf_counter() - start
            print(f"{verdict:9} {seconds:5.1f} s  {fault.name:62} {fault.test}", flush=True)
    print(f"{len(chosen)} faults planted, {len(chosen) - missed} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
