/* Class balance and forgetting. */
#ifndef GD_EVAL_BALANCE_H
#define GD_EVAL_BALANCE_H

#include "gendistill/base.h"

typedef struct gd_balance {
  double kld;                       /* sum_c p_c (ln p_c - ln q_c) */
  double absolute_ratio_difference; /* sum_c |p_c - q_c| / 2, from 0 to 1 */
} gd_balance;

/* p: frequencies of `true_counts`, q: of `generated_counts`; for the divergence both plus 1e-8, as in the paper's
 * reference implementation. Local. */
gd_balance gd_class_balance(int n_classes, const int64_t *true_counts, const int64_t *generated_counts);

/* Mean over the n tasks of best[i] - last[i], where best is the highest accuracy that the task ever had before the last
 * task; 0 for n < 1 (Chaudhry et al. 2018). Tasks whose last accuracy is NAN are left out; NAN where all are. Local. */
double gd_forgetting(int n, const double *best, const double *last);

#endif
