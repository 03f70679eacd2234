/* The page configs/README.md: a fixed introduction, then one table per section of keys. */
#include <stdio.h>
#include <string.h>

#include "config/keys.h"

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "A configuration is a YAML file. Every key has a default, so a file holds only what differs. This page is\n"
    "generated from the table of keys in [keys.c](../src/config/keys.c); `gendistill config` prints the same keys\n"
    "and defaults as YAML.\n"
    "\n"
    "Later values replace earlier ones: the default, then the file, then each `--set key=value` of the command\n"
    "line in its order. An unknown key, a wrong type or a value out of range ends the program with status 2 and a\n"
    "message that names file, line and key, before any work starts. A configuration has at most 64 KiB.\n"
    "\n"
    "    mpirun -n 2 build/release/gendistill train configs/quickstart.yaml \\\n"
    "      --set output.directory=runs/first --set \"model.attention=[false, true, true]\"\n"
    "\n"
    "Paths may begin with `~` and contain environment variables, `$NAME` or `${NAME}`; `$$` is a `$`. Inside\n"
    "YAML's `{...}` put `${NAME}` in quotes. `--set` takes a path literally, including spaces and `#`.\n"
    "\n"
    "`config.resolved.yaml` in a run's folder holds all keys with the values that the run used and paths\n"
    "expanded; it is a configuration file too. A run may be resumed with another value of a key only where the\n"
    "tables say so. The strategies and their equations are in [src/strategy](../src/strategy/README.md), the metrics\n"
    "in [src/eval](../src/eval/README.md).\n"
    "\n"
    "| file | what it trains |\n"
    "| --- | --- |\n"
    "| [quickstart.yaml](quickstart.yaml) | a network of 0.7 million parameters, a few minutes on two cores |\n"
    "| [small/](small) | a small setting of each strategy, used by the [studies](../jobs/studies) |\n"
    "| [fashion_mnist_paper.yaml](fashion_mnist_paper.yaml) | the paper's Fashion-MNIST setting, for clusters |\n"
    "| [cifar10_paper.yaml](cifar10_paper.yaml) | the paper's CIFAR-10 setting, for clusters |\n"
    "\n"
    "Data sets: Fashion-MNIST is Debian's package `dataset-fashion-mnist`; elsewhere put the four `*-ubyte.gz`\n"
    "files of [its authors](https://github.com/zalandoresearch/fashion-mnist), or MNIST's, into a folder.\n"
    "CIFAR-10 is the [binary version](https://www.cs.toronto.edu/~kriz/cifar.html): `data_batch_1.bin` to\n"
    "`data_batch_5.bin` and `test_batch.bin`.\n";

// Values of each type, in front of names and ranges.
static const char *const kinds[] = {
    [GD_KEY_SEED] = "0 to 18446744073709551615",
    [GD_KEY_INT] = "",
    [GD_KEY_REAL] = "",
    [GD_KEY_BOOL] = "true, false",
    [GD_KEY_CHOICE] = "",
    [GD_KEY_TEXT] = "a path",
    [GD_KEY_CHANNELS] = "a list of whole numbers, ",
    [GD_KEY_TIMESTEPS] = "a list of whole numbers, ",
    [GD_KEY_HINTS] = "a mapping of names to values",
    [GD_KEY_ATTENTION] = "a list of true and false",
    [GD_KEY_TASK_ORDER] = "seeded, or a list of lists of classes, ",
};

static void print_values(FILE *out, const gd_key *key) {
  fputs(kinds[key->type], out);
  for (int i = 0; key->choices && key->choices[i]; i++) fprintf(out, "%s%s", i ? ", " : "", key->choices[i]);
  if (key->max > key->min) fprintf(out, "%.15g to %.15g", key->min, key->max);
}

// Default paths follow from the data set. Numbers are shown as in the table: 10.0, not the dump's 1e+01.
static void print_row(FILE *out, const gd_key *key, const gd_config *defaults) {
  char *value = key->type == GD_KEY_TEXT ? gd_key_format(key, defaults) : gd_strdup(key->fallback);
  fprintf(out, "| `%s` | `%s` | ", key->path, value);
  print_values(out, key);
  fprintf(out, " | %s | %s |\n", key->may_differ ? "yes" : "no", key->doc);
  gd_free(value);
}

char *gd_config_markdown(const gd_config *defaults) {
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  const char *section = "";
  fputs(introduction, out);
  for (int i = 0; i < gd_n_keys; i++) {
    const gd_key *key = &gd_keys[i];
    size_t length = strcspn(key->path, ".");
    if (strncmp(section, key->path, length + 1) != 0) {
      fprintf(out, "\n## %.*s\n\n| key | default | values | change on resume | meaning |\n", (int)length, key->path);
      fputs("| --- | --- | --- | --- | --- |\n", out);
    }
    section = key->path;
    print_row(out, key, defaults);
  }
  gd_text_end(out);
  return text;
}
