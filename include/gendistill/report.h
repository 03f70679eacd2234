/* Tables and pictures from the stored results of several runs. */
#ifndef GENDISTILL_REPORT_H
#define GENDISTILL_REPORT_H

#include "gendistill/base.h"

/* Reads config.resolved.yaml, metrics.jsonl and samples/ of each run folder and writes to `directory` (made if needed)
 * report.md, report.csv and, where gnuplot is installed, pictures. Runs that differ in nothing but the seed (and the
 * output folder) are one group: mean and standard error over its seeds. Local: for one rank.
 * GD_ERR_INPUT naming file and line: missing, not JSON, no evaluation in it; GD_ERR_FAILED where a file cannot be
 * written. Without gnuplot, or where it fails, a warning, and tables only. */
gd_err gd_report_write(int n_runs, const char *const *runs, const char *directory);

#endif
