/* Making and freeing a configuration: defaults, then the file, then the overrides, then the checks. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/keys.h"

void gd_config_clear_order(gd_config *config) {
  gd_tasks_config *tasks = &config->tasks;
  for (int t = 0; t < GD_MAX_CLASSES; t++) {
    gd_free(tasks->classes[t]);
    tasks->classes[t] = NULL;
    tasks->n_classes[t] = 0;
  }
  tasks->seeded = true;
}

void gd_config_destroy(gd_config **config) {
  if (!*config) return;
  gd_config_clear_order(*config);
  for (int i = 0; i < gd_n_keys; i++)
    if (gd_keys[i].type == GD_KEY_TEXT || gd_keys[i].type == GD_KEY_HINTS)
      gd_free(*(char **)((char *)*config + gd_keys[i].offset));
  gd_free(*config);
  *config = NULL;
}

static gd_err apply_set(gd_config_reader *reader, const char *set) {
  gd_err err = GD_OK;
  char *path = NULL;
  const char *equals = strchr(set, '=');
  if (!equals || equals == set) return gd_error(GD_ERR_INPUT, "--set %s: must be KEY=VALUE", set);
  path = gd_strdup(set);
  path[equals - set] = 0;
  reader->set = set;
  GD_TRY(gd_config_read_set(reader, path, equals + 1));
done:
  reader->set = NULL;
  gd_free(path);
  return err;
}

// text NULL: no file, defaults only
static gd_err create_config(gd_config **out, const char *name, const char *text, int n_sets, const char *const *sets) {
  gd_err err = GD_OK;
  gd_config_reader reader = {.config = GD_NEW(gd_config), .where = GD_NEW_ARRAY(char *, gd_n_keys)};
  for (int i = 0; i < gd_n_keys; i++) {
    GD_REQUIRE(gd_keys[i].path);
    if (gd_config_read_text(&reader, gd_keys[i].path, gd_keys[i].fallback)) gd_abort("%s", gd_error_message());
  }
  reader.file = name;
  if (text) GD_TRY(gd_config_read_text(&reader, "", text));
  for (int i = 0; i < n_sets; i++) GD_TRY(apply_set(&reader, sets[i]));
  GD_TRY(gd_config_validate(&reader));
  *out = reader.config;
  reader.config = NULL;
done:
  for (int i = 0; i < gd_n_keys; i++) gd_free(reader.where[i]);
  gd_free(reader.where);
  gd_config_destroy(&reader.config);
  return err;
}

gd_err gd_config_create_from_text(gd_config **out, const char *name, const char *text, int n_sets,
                                  const char *const *sets) {
  *out = NULL;
  return create_config(out, name, text, n_sets, sets);
}

static gd_err read_file(const char *path, char **text) {
  gd_err err = GD_OK;
  char *buffer = NULL;
  FILE *file = fopen(path, "rb");
  if (!file) return gd_error(GD_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
  buffer = gd_alloc(GD_MAX_CONFIG_NBYTES + 1);
  errno = 0;
  size_t nbytes = fread(buffer, 1, GD_MAX_CONFIG_NBYTES + 1, file);
  if (ferror(file)) GD_TRY(gd_error(GD_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno)));
  if (nbytes > GD_MAX_CONFIG_NBYTES) GD_TRY(gd_error(GD_ERR_INPUT, "%s: too large for a configuration", path));
  if (memchr(buffer, 0, nbytes)) GD_TRY(gd_error(GD_ERR_INPUT, "%s: not a text file", path));
  buffer[nbytes] = 0;
  *text = buffer;
  buffer = NULL;
done:
  gd_free(buffer);
  fclose(file);
  return err;
}

gd_err gd_config_create(gd_config **out, const char *path, int n_sets, const char *const *sets) {
  gd_err err = GD_OK;
  char *text = NULL;
  *out = NULL;
  if (path) GD_TRY(read_file(path, &text));
  GD_TRY(create_config(out, path, text, n_sets, sets));
done:
  gd_free(text);
  return err;
}

gd_err gd_config_read(gd_config **out, const gd_comm *comm, const char *path, int n_sets, const char *const *sets) {
  *out = NULL;
  gd_err err = gd_comm_agree(comm, comm->rank == 0 ? gd_config_create(out, path, n_sets, sets) : GD_OK);
  if (err != GD_OK) return err;
  char *text = comm->rank == 0 ? gd_config_dump(*out) : NULL;
  int64_t nbytes = text ? (int64_t)strlen(text) + 1 : 0;
  MPI_Bcast(&nbytes, 1, MPI_INT64_T, 0, comm->mpi);
  if (!text) text = gd_alloc((size_t)nbytes);
  gd_comm_broadcast(comm, text, nbytes, MPI_CHAR, 0);
  if (comm->rank != 0) err = gd_config_create_from_text(out, path ? path : "rank 0", text, 0, NULL);
  gd_free(text);
  return gd_comm_agree(comm, err);
}
