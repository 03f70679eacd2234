/* The table of configuration keys, and what reading, checking and printing share. */
#ifndef GENDISTILL_CONFIG_KEYS_H
#define GENDISTILL_CONFIG_KEYS_H

#include <yaml.h>

#include "gendistill/config.h"

typedef enum gd_key_type {
  GD_KEY_SEED, /* uint64_t */
  GD_KEY_INT,
  GD_KEY_REAL, /* double */
  GD_KEY_BOOL,
  GD_KEY_CHOICE, /* an enum that counts the names in `choices` */
  GD_KEY_TEXT,   /* char *, owned by the configuration */
  GD_KEY_CHANNELS,
  GD_KEY_ATTENTION,
  GD_KEY_TASK_ORDER,
  GD_KEY_TIMESTEPS, /* gd_sampling: n_timesteps and timesteps */
  GD_KEY_HINTS,     /* char *, lines "NAME=VALUE", owned by the configuration */
} gd_key_type;

/* One row per key: it drives defaults, reading, --set, the dump and the comparison of runs. */
typedef struct gd_key {
  const char *path; /* "section.key" */
  gd_key_type type;
  size_t offset;              /* of the value in gd_config */
  double min, max;            /* numbers, and the entries of lists of numbers */
  const char *const *choices; /* ends with NULL */
  const char *fallback;       /* the default, as YAML */
  bool may_differ;            /* a run may be resumed with another value */
  const char *doc;
} gd_key;

enum { GD_MAX_CONFIG_NBYTES = 1 << 16 }; /* libyaml takes seconds for a megabyte of anchors */
extern const gd_key gd_keys[];
extern const int gd_n_keys;

/* Row of the key called `path`, or -1. */
int gd_key_find(const char *path);

/* Whether keys "path.…" exist; "" is the root. */
bool gd_key_is_section(const char *path);

/* The key or section that `path` was probably meant to be, or NULL. New string. */
char *gd_key_nearest(const char *path);

/* The value as a dump has it. New string. */
char *gd_key_format(const gd_key *key, const gd_config *config);

/* A configuration while it is read: remembers where each value came from, for messages. */
typedef struct gd_config_reader {
  gd_config *config;
  const char *file;          /* name of the YAML file, or NULL */
  const char *set;           /* the override being read, or NULL */
  int n_attention;           /* entries of model.attention */
  char **where;              /* (gd_n_keys) "FILE:LINE" or "--set KEY=VALUE"; NULL: default */
  yaml_document_t *document; /* being read */
} gd_config_reader;

/* Reads one YAML text over what is there: a whole file (set NULL), or the value of the key `path`. */
gd_err gd_config_read_text(gd_config_reader *reader, const char *path, const char *text);

/* Reads the value of an override; a path is taken literally, unless it is quoted. */
gd_err gd_config_read_set(gd_config_reader *reader, const char *path, const char *value);

/* Reads the value of `key` from a node. */
gd_err gd_key_read(gd_config_reader *reader, const gd_key *key, const yaml_node_t *node);

/* "FILE:LINE" of the node or "--set KEY=VALUE". New string. */
char *gd_config_place(const gd_config_reader *reader, const yaml_node_t *node);

/* Checks the key of a pair of `mapping`: a plain name that occurs in it once. */
gd_err gd_config_check_name(const gd_config_reader *reader, const yaml_node_t *mapping, const yaml_node_pair_t *pair);

/* What a node holds, for "…, is %s": the quoted scalar or the kind of node. */
const char *gd_node_describe(const yaml_node_t *node, char text[96]);

/* Expands a leading ~ or ~/ by $HOME, and $NAME and ${NAME} by the environment; $$ is $. New string; NULL with
 * the reason in `problem` (160 bytes): a variable that is unset or empty, ~USER, a $ with something else behind it. */
char *gd_path_expand(const char *text, char *problem);

/* Checks of values against each other; fills in what follows from others. The second: of strategy, replay, solver. */
gd_err gd_config_validate(gd_config_reader *reader);
gd_err gd_config_validate_strategy(const gd_config_reader *reader);

/* Whether the key was given, in the file or by --set. */
bool gd_config_is_given(const gd_config_reader *reader, const char *path);

/* Names `path`; the place is where it was given or, for a default, where the key `other` it clashes with was. */
gd_err gd_config_clash(const gd_config_reader *reader, const char *path, const char *other, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void gd_config_clear_order(gd_config *config);

#endif
