/* gendistill frechet: the Fréchet distance of two feature sets, whoever made them; with --neighbours also KID,
 * precision, recall, density and coverage. */
#include <stdio.h>

#include "app/command.h"
#include "gendistill/eval.h"

static gd_err measure_distance(const gd_comm *comm, const gd_features *real, const gd_features *generated,
                               gd_frechet *out) {
  gd_err err;
  gd_grid *grid = NULL;
  gd_moments *a = NULL, *b = NULL;
  double start = gd_seconds();
  gd_grid_create(&grid, comm, gd_grid_ranks_for(real->width));
  GD_TRY(gd_grid_check_width(grid, real->width));
  gd_moments_create(&a, grid, real, NULL);
  gd_moments_create(&b, grid, generated, NULL);
  double covered = gd_seconds();
  err = gd_frechet_distance(out, a, b);
  gd_log(GD_LOG_INFO, "covariances %.2f s, distance %.2f s", covered - start, gd_seconds() - covered);
done:
  gd_moments_destroy(&a);
  gd_moments_destroy(&b);
  gd_grid_destroy(&grid);
  return err;
}

// On rank 0 one line per number. Collective.
static void print_neighbours(const gd_comm *comm, const gd_features *real, const gd_features *generated) {
  double start = gd_seconds();
  gd_neighbours n = gd_neighbours_compare(comm, real, generated);
  gd_log(GD_LOG_INFO, "neighbours and kernel distance %.2f s", gd_seconds() - start);
  for (int i = 0; i < GD_N_NEIGHBOURHOODS && comm->rank == 0; i++) {
    const gd_prdc *prdc = &n.prdc[i];
    int k = gd_neighbourhoods[i];
    printf("precision_%d: %.10g\nrecall_%d: %.10g\ndensity_%d: %.10g\ncoverage_%d: %.10g\n", k, prdc->precision, k,
           prdc->recall, k, prdc->density, k, prdc->coverage);
  }
  if (comm->rank == 0)
    printf("kid: %.10g\nkid, mean of subsets: %.10g\nkid, deviation of subsets: %.10g\n", n.kid.value, n.kid.mean,
           n.kid.deviation);
}

gd_err gd_command_frechet(const gd_comm *comm, int argc, char **argv) {
  gd_err err;
  const char *real_path = NULL, *generated_path = NULL;
  gd_features real = {0}, generated = {0};
  gd_frechet frechet = {0};
  bool neighbours = false;
  const gd_option options[] = {{"real", GD_OPTION_TEXT, &real_path, true},
                               {"generated", GD_OPTION_TEXT, &generated_path, true},
                               {"neighbours", GD_OPTION_FLAG, &neighbours, false},
                               {0}};
  GD_TRY(gd_comm_agree(comm, gd_options_parse(argc, argv, options, NULL, NULL)));
  GD_TRY(gd_features_read(comm, real_path, &real));
  GD_TRY(gd_features_read(comm, generated_path, &generated));
  if (real.width != generated.width)
    GD_TRY(gd_error(GD_ERR_INPUT, "%s has features of width %d, %s of width %d", real_path, real.width, generated_path,
                    generated.width));
  GD_TRY(gd_error_context(measure_distance(comm, &real, &generated, &frechet), "%s", real_path));
  if (neighbours) print_neighbours(comm, &real, &generated);
  if (comm->rank == 0)
    printf(
        "real rows: %lld\ngenerated rows: %lld\nwidth: %d\nmean term: %.10g\nnegative eigenvalues clipped: %.3g\n"
        "%.10g\n",
        (long long)real.n_global, (long long)generated.n_global, real.width, frechet.mean_term, frechet.clipped,
        frechet.distance);
done:
  gd_features_clear(&real);
  gd_features_clear(&generated);
  return err;
}
