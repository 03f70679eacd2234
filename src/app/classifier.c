/* gendistill classifier: trains the evaluation classifier, or finds it in the cache, and says how good it is. */
#include <stdio.h>

#include "app/command.h"
#include "gendistill/eval.h"

gd_err gd_command_classifier(const gd_comm *comm, int argc, char **argv) {
  gd_err err;
  const char *path;
  gd_texts sets = {0};
  gd_config *config = NULL;
  gd_dataset *train = NULL, *test = NULL;
  gd_classifier *classifier = NULL;
  const gd_option options[] = {{"set", GD_OPTION_TEXTS, &sets, false}, {0}};
  err = gd_options_parse(argc, argv, options, "a configuration file", &path);
  GD_TRY(gd_comm_agree(comm, err));
  GD_TRY(gd_config_read(&config, comm, path, sets.n, sets.values));
  GD_REQUIRE(config);
  gd_config_apply(config);
  GD_TRY(gd_dataset_read(&train, comm, &config->dataset, GD_TRAIN));
  GD_TRY(gd_dataset_read(&test, comm, &config->dataset, GD_TEST));
  GD_TRY(gd_classifier_obtain(&classifier, comm, config, train, test));
  if (comm->rank == 0)
    printf("%s\ntest accuracy: %.4f\n", gd_classifier_path(classifier), gd_classifier_accuracy(classifier));
done:
  gd_classifier_destroy(&classifier);
  gd_dataset_destroy(&train);
  gd_dataset_destroy(&test);
  gd_config_destroy(&config);
  return err;
}
