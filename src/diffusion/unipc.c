/* UniPC (Zhao et al. 2023, arXiv 2302.04867): B2, order 2, on estimates of x_0, as the scheduler of diffusers with a
 * last step to no noise. Each step first corrects x by the estimate at its own timestep, then predicts the next x. */
#include <math.h>
#include <string.h>

#include "diffusion/sampling.h"

// x_end = ratio x_begin + gain x_0, with x_0 extrapolated by weights of its differences.
typedef struct unipc_move {
  float ratio, gain;
  float to_earlier, to_end;  // weights of (x_0 one step earlier - x_0), and of (x_0 at the end - x_0)
} unipc_move;

// Of the predictor of step k: 1 in the first step and the last.
static int order_of_step(const gd_sampling_state *state, int k) {
  return k > 0 && k < state->n_steps - 1 ? 2 : 1;
}

static unipc_move plain_move(gd_noise_level begin, gd_noise_level end) {
  double h = gd_log_snr(end) - gd_log_snr(begin);
  return (unipc_move){.ratio = end.sigma / begin.sigma, .gain = (float)(-end.alpha * expm1(-h))};
}

// Of the step before `begin`, in units of the step to `end`: negative.
static double relative_step(gd_noise_level earlier, gd_noise_level begin, gd_noise_level end) {
  return (gd_log_snr(earlier) - gd_log_snr(begin)) / (gd_log_snr(end) - gd_log_snr(begin));
}

static unipc_move predictor(const gd_sampling_state *state) {
  unipc_move move = plain_move(state->now, state->next);
  if (order_of_step(state, state->k) == 2)
    move.to_earlier = (float)(0.5 / relative_step(state->past[0], state->now, state->next));
  return move;
}

static unipc_move corrector(const gd_sampling_state *state) {
  gd_noise_level begin = state->past[0], end = state->now;
  unipc_move move = plain_move(begin, end);
  move.to_end = 0.5f;
  if (order_of_step(state, state->k - 1) == 1) return move;
  double h = gd_log_snr(begin) - gd_log_snr(end), b = expm1(h), phi_1 = b / h - 1, phi_2 = phi_1 / h - 0.5;
  double r = relative_step(state->past[1], begin, end), weight = (phi_1 - 2 * phi_2) / b / (1 - r);
  move.to_earlier = (float)(weight / r);
  move.to_end = (float)(phi_1 / b - weight);
  return move;
}

// x: at the beginning; estimates of x_0 at the beginning, one step earlier and at the end, NULL where not used.
static void apply_move(const gd_sampling_state *state, unipc_move move, const float *x, const float *x0,
                       const float *earlier, const float *end) {
  float *out = state->x;
  if (!earlier) earlier = x0;
  if (!end) end = x0;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < state->n_images * state->n_elements; i++)
    out[i] = move.ratio * x[i] +
             move.gain * (x0[i] + move.to_earlier * (earlier[i] - x0[i]) + move.to_end * (end[i] - x0[i]));
}

static void unipc_step(gd_sampling_state *state) {
  float *x_before = state->scratch[0];
  gd_sampling_estimate(state, state->x, state->now);
  if (state->k > 0) apply_move(state, corrector(state), x_before, state->history[0], state->history[1], state->x0);
  memcpy(x_before, state->x, (size_t)(state->n_images * state->n_elements) * sizeof(float));
  apply_move(state, predictor(state), x_before, state->x0, state->history[0], NULL);
}

const gd_sampler gd_sampler_unipc = {
    .paths = GD_ON_DIFFUSION,
    .diffusers =
        {[GD_PATH_diffusion] =
             {"UniPCMultistepScheduler",
              "\"predict_x0\": true, \"solver_order\": 2, \"solver_type\": \"bh2\", \"final_sigmas_type\": \"zero\""}},
    .has_own_eta = true,
    .needs_signal = true,
    .n_history = 2,
    .n_scratch = 1,
    .evaluations = gd_sampling_one_per_step,
    .step = unipc_step};
