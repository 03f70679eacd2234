/* Tables and pictures from the stored results of several runs. */
#ifndef GENDISTILL_REPORT_H
#define GENDISTILL_REPORT_H

#include "gendistill/base.h"

/* Reads config.resolved.yaml, metrics.jsonl and samples/ of each run folder and writes to `directory` (made if needed)
 * report.md, report.csv and, where gnuplot is installed, pictures. Runs that differ in nothing but the seed (and
 * folders) are one group: mean and standard error over its seeds. Prints the names of the files it wrote to stdout.
 * Local: for one rank. GD_ERR_INPUT naming file and line: missing, not JSON, a run given twice, runs of different data
 * sets; GD_ERR_FAILED where a file cannot be written. A warning and a smaller report: without gnuplot no pictures,
 * without evaluations in a run its loss and images only. */
gd_err gd_report_write(int n_runs, const char *const *runs, const char *directory);

#endif
