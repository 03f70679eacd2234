/* The configuration reader: YAML text, a zero byte, then overrides with a zero byte between them.
 *
 * An accepted configuration must be read back from its own dump and must give a network description. */
#include <string.h>

#include "fuzz_support.h"
#include "gendistill/config.h"

enum { MAX_SETS = 8 };

static void check_accepted(const gd_config *config) {
  gd_config *again = NULL;
  char *dump = gd_config_dump(config);
  if (gd_config_create_from_text(&again, "dump", dump, 0, NULL) != GD_OK)
    gd_abort("a dump is refused: %s\n%s", gd_error_message(), dump);
  char *second = gd_config_dump(again);
  if (strcmp(dump, second) != 0) gd_abort("a dump changes when it is read:\n%s\n%s", dump, second);
  if (gd_config_require_same_run(config, again) != GD_OK) gd_abort("not the same run: %s", gd_error_message());
  gd_net *net = NULL;
  gd_model_create(&net, config);
  if (gd_net_params(net)->total <= 0) gd_abort("a network of %lld parameters", (long long)gd_net_params(net)->total);
  gd_net_destroy(&net);
  gd_free(second);
  gd_free(dump);
  gd_config_destroy(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char *text = gd_alloc(nbytes + 1);
  const char *sets[MAX_SETS];
  int n_sets = 0;
  memcpy(text, data, nbytes);
  text[nbytes] = 0;
  for (size_t i = 0; i < nbytes && n_sets < MAX_SETS; i++)
    if (text[i] == 0) sets[n_sets++] = text + i + 1;
  gd_config *config = NULL;
  gd_err err = gd_config_create_from_text(&config, "fuzz.yaml", text, n_sets, sets);
  fuzz_check(err, "");
  if (err == GD_OK) check_accepted(config);
  if (err != GD_OK && (config || !*gd_error_message())) gd_abort("refused without a message, or with a result");
  gd_config_destroy(&config);
  gd_free(text);
  return 0;
}

void fuzz_make_seeds(void) {
  static const char lists[] =
      "tasks: {order: [[0, 1], [2, 3], [4]]}\nmodel: {block_out_channels: [32, 64],\n"
      "  attention: [false, true], norm_num_groups: 8}\ndataset: {image_size: 8}\n";
  static const char sets[] = "seed: 1\n\0training.epochs=3\0tasks.order=[[0],[1]]\0output.directory='a b'";
  static const char yaml[] =
      "? &a seed\n: !!int 7\n# comment\nstrategy: {name: \"lwf\", lambda: 1.0e+3}\n"
      "output:\n  directory: >-\n    folded\n    text\n";
  gd_config *config;
  if (gd_config_create(&config, NULL, 0, NULL) != GD_OK) gd_abort("%s", gd_error_message());
  char *dump = gd_config_dump(config);
  fuzz_seed("defaults", dump, strlen(dump));
  fuzz_seed("lists", lists, sizeof lists - 1);
  fuzz_seed("sets", sets, sizeof sets - 1);
  fuzz_seed("yaml", yaml, sizeof yaml - 1);
  gd_free(dump);
  gd_config_destroy(&config);
}
