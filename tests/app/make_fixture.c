/* make_fixture: makes, damages and compares files for the tests of the program.
 *
 *   make_fixture weights FILE [WITHOUT]       network a of golden/unet.h5 as safetensors, without one tensor
 *   make_fixture noise FILE [SIZE|nan]        /x_T of golden/diffusion.h5; with nan its last value is NaN; with
 *                                             SIZE zeros (2, 1, SIZE, SIZE)
 *   make_fixture idx FOLDER [MORE]            a small data set in Fashion-MNIST's format; MORE training
 *                                             images, none of them of class 0
 *   make_fixture features FILE BITS ROWS WIDTH VALUE   zeros of 32 or 64 bits, except in the last row of each eighth
 *                                             of the set: VALUE in column 0, 2 VALUE in column 1 and so on. Zeros
 *                                             take no disk space
 *   make_fixture flip FILE                    inverts the byte in the middle
 *   make_fixture poison CHECKPOINT            makes its last parameter so large that the loss overflows
 *   make_fixture check FILE...                all checksums of these HDF5 files are correct
 *   make_fixture compare A DATASET B DATASET TOLERANCE   datasets, or groups of them, agree: largest difference over
 *                                             largest value; with 0 every element is equal
 *   make_fixture small-pages COMMAND...       runs the command without huge pages
 * Exit status 0, or 1 with a message. */
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/config.h"
#include "gendistill/store.h"
#include "network_a.h"
#include "support.h"

static int failed(const char *what) {
  fprintf(stderr, "make_fixture: %s\n", what);
  return 1;
}

/* ---- Files for import and sample ---- */

static int make_weights(const char *path, const char *without) {
  gd_net *net = NULL;
  gd_unet_create(&net, &network_a, NETWORK_A_SIZE, 1);
  const gd_param_table *table = gd_net_params(net);
  float *values = GD_NEW_ARRAY(float, table->total);
  gd_param *params = GD_NEW_ARRAY(gd_param, table->n);
  gd_param_table written = {.params = params, .total = table->total};
  for (int i = 0; i < table->n; i++)
    if (!without || strcmp(table->params[i].name, without) != 0) params[written.n++] = table->params[i];
  int n_found = golden_params("unet.h5", "a/weights", table, values);
  bool as_asked = n_found == table->n && written.n == table->n - (without != NULL);
  gd_err err = gd_safetensors_write(path, &written, values);
  gd_free(params);
  gd_free(values);
  gd_net_destroy(&net);
  if (err != GD_OK) return failed(gd_error_message());
  return as_asked ? 0 : failed("weights: a tensor is missing in the golden file, or there is none to leave out");
}

static int make_noise(const char *path, const char *size_text) {
  bool has_nan = size_text && strcmp(size_text, "nan") == 0;
  if (has_nan) size_text = NULL;
  hsize_t size = size_text ? strtoul(size_text, NULL, 10) : NETWORK_A_SIZE;
  hsize_t dims[4] = {2, 1, size, size}, count = 2 * size * size;
  float *values = size_text ? GD_NEW_ARRAY(float, count) : golden("diffusion.h5", "ddim_x_T", (int64_t)count);
  if (has_nan) values[count - 1] = NAN;
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t space = H5Screate_simple(4, dims, NULL);
  hid_t dataset = H5Dcreate2(file, "/x_T", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  herr_t written = H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(dataset);
  H5Sclose(space);
  herr_t closed = H5Fclose(file);
  gd_free(values);
  return written < 0 || closed < 0 ? failed("noise: cannot write the file") : 0;
}

/* ---- A feature set ---- */

enum { N_MARKED = 8 };

static bool write_marked(hid_t dataset, hsize_t rows, double value) {
  hid_t space = H5Dget_space(dataset), one = H5Screate(H5S_SCALAR);
  bool ok = true;
  for (hsize_t k = 0; k < N_MARKED; k++) {
    const hsize_t at[2] = {rows * (k + 1) / N_MARKED - 1, k};
    double marked = value * (double)(k + 1);
    ok = ok && H5Sselect_elements(space, H5S_SELECT_SET, 1, at) >= 0 &&
         H5Dwrite(dataset, H5T_NATIVE_DOUBLE, one, space, H5P_DEFAULT, &marked) >= 0;
  }
  H5Sclose(one);
  H5Sclose(space);
  return ok;
}

static int make_features(const char *path, int bits, hsize_t rows, hsize_t width, double value) {
  const hsize_t dims[2] = {rows, width};
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_alloc_time(storage, H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(storage, H5D_FILL_TIME_NEVER);
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(2, dims, NULL);
  hid_t type = bits == 64 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE;
  hid_t dataset = H5Dcreate2(file, "/features", type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  bool ok = dataset >= 0 && (value == 0 || write_marked(dataset, rows, value));
  H5Dclose(dataset);
  H5Sclose(space);
  H5Pclose(storage);
  return H5Fclose(file) >= 0 && ok ? 0 : failed("features: cannot write the file");
}

/* ---- A data set ---- */

enum { SIDE = 28, N_CLASSES = 10, N_TRAIN = 115 };

static void write_word(FILE *file, uint32_t word) {
  for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(word >> shift & 255), file);
}

// The first N_TRAIN images: twelve per class for classes 0 to 4, eleven for 5 to 9. Further images are not of class 0.
static int class_of(uint32_t image) {
  return (int)(image < N_TRAIN ? image % N_CLASSES : 1 + image % (N_CLASSES - 1));
}

// Each class has its own stripes, so that there is something to learn.
static int pixel(uint32_t image, int y, int x) {
  int class = class_of(image);
  uint32_t noise = (image * 2654435761u + (uint32_t)(y * SIDE + x) * 40503u) >> 7;
  return (x * (class + 1) + y * (10 - class)) % 64 < 32 ? (int)(128 + noise % 128) : (int)(noise % 64);
}

static int write_split(const char *folder, const char *prefix, uint32_t n) {
  char *images_path = gd_format("%s/%s-images-idx3-ubyte", folder, prefix);
  char *labels_path = gd_format("%s/%s-labels-idx1-ubyte", folder, prefix);
  FILE *images = fopen(images_path, "wb"), *labels = fopen(labels_path, "wb");
  gd_free(images_path);
  gd_free(labels_path);
  if (!images || !labels) return failed("idx: cannot create the files");
  write_word(images, 0x803);
  write_word(images, n);
  write_word(images, SIDE);
  write_word(images, SIDE);
  write_word(labels, 0x801);
  write_word(labels, n);
  for (uint32_t i = 0; i < n; i++) {
    fputc(class_of(i), labels);
    for (int p = 0; p < SIDE * SIDE; p++) fputc(pixel(i, p / SIDE, p % SIDE), images);
  }
  return fclose(images) != 0 || fclose(labels) != 0 ? failed("idx: cannot write the files") : 0;
}

static int make_idx(const char *folder, const char *more) {
  if (mkdir(folder, 0777) != 0 && errno != EEXIST) return failed("idx: cannot make the folder");
  return write_split(folder, "train", N_TRAIN + (more ? (uint32_t)atoi(more) : 0)) || write_split(folder, "t10k", 20);
}

/* ---- Damage ---- */

static gd_err poison_on(const gd_comm *comm, const char *path) {
  gd_err err;
  gd_checkpoint c = {0};
  gd_config *config = NULL;
  gd_net *net = NULL;
  GD_TRY(gd_checkpoint_read_header(comm, path, &c));
  GD_TRY(gd_config_create_from_text(&config, path, c.config_text, 0, NULL));
  gd_model_create(&net, config);
  gd_checkpoint_clear(&c);
  GD_TRY(gd_checkpoint_read(comm, path, gd_net_params(net), &c));
  gd_checkpoint_array(&c, "model")[gd_net_params(net)->total - 1] = 3e38f;
  err = gd_checkpoint_write(comm, path, gd_net_params(net), &c);
done:
  gd_checkpoint_clear(&c);
  gd_net_destroy(&net);
  gd_config_destroy(&config);
  return err;
}

static int poison(const char *path) {
  gd_comm *comm;
  test_mpi_begin();
  gd_comm_create(&comm, MPI_COMM_WORLD);
  gd_err err = poison_on(comm, path);
  gd_comm_destroy(&comm);
  test_mpi_end();
  return err == GD_OK ? 0 : failed(gd_error_message());
}

static int check(char **paths) {
  gd_comm *comm;
  gd_err err = GD_OK;
  if (!freopen("/dev/null", "w", stdout)) return failed("check: cannot open /dev/null");
  test_mpi_begin();
  gd_comm_create(&comm, MPI_COMM_WORLD);
  for (; *paths && err == GD_OK; paths++) err = gd_store_info(comm, *paths);
  gd_comm_destroy(&comm);
  test_mpi_end();
  return err == GD_OK ? 0 : failed(gd_error_message());
}

static int flip(const char *path) {
  FILE *file = fopen(path, "r+b");
  if (!file) return failed("flip: cannot open the file");
  fseek(file, 0, SEEK_END);
  long middle = ftell(file) / 2;
  fseek(file, middle, SEEK_SET);
  int byte = fgetc(file);
  fseek(file, middle, SEEK_SET);
  fputc(~byte & 255, file);
  return fclose(file) != 0 || byte == EOF ? failed("flip: cannot change the file") : 0;
}

/* ---- Comparison ---- */

typedef struct gd_comparison {
  hid_t a, b;
  double tolerance;
  int n_compared, n_failed;
} gd_comparison;

static float *read_dataset(hid_t parent, const char *name, int64_t *count) {
  hid_t dataset = H5Dopen2(parent, name, H5P_DEFAULT);
  if (dataset < 0) return NULL;
  hid_t space = H5Dget_space(dataset);
  *count = H5Sget_simple_extent_npoints(space);
  float *values = GD_NEW_ARRAY(float, *count);
  if (H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) *count = -1;
  H5Sclose(space);
  H5Dclose(dataset);
  return values;
}

static void compare_dataset(gd_comparison *c, const char *name_a, const char *name_b) {
  int64_t n_a = -1, n_b = -1;
  float *a = read_dataset(c->a, name_a, &n_a), *b = read_dataset(c->b, name_b, &n_b);
  bool comparable = a && b && n_a == n_b && n_a > 0;
  double error = comparable ? relative_error(a, b, n_a) : INFINITY;
  c->n_compared++;
  if (!(error <= c->tolerance)) {
    c->n_failed++;
    fprintf(stderr, "make_fixture: %s and %s differ by %g\n", name_a, name_b, error);
  }
  gd_free(a);
  gd_free(b);
}

// The true gradient of a key bias is zero and its updates are rounding errors: compared bit for bit or not at all.
static herr_t compare_link(hid_t group, const char *name, const H5L_info_t *info, void *context) {
  (void)group, (void)info;
  gd_comparison *c = context;
  if (c->tolerance == 0 || !strstr(name, "to_k.bias")) compare_dataset(c, name, name);
  return 0;
}

static int compare(char **argv) {
  hid_t file_a = H5Fopen(argv[0], H5F_ACC_RDONLY, H5P_DEFAULT), file_b = H5Fopen(argv[2], H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_a < 0 || file_b < 0) return failed("compare: cannot open the files");
  gd_comparison c = {.tolerance = strtod(argv[4], NULL)};
  c.a = H5Oopen(file_a, argv[1], H5P_DEFAULT);
  c.b = H5Oopen(file_b, argv[3], H5P_DEFAULT);
  if (c.a < 0 || c.b < 0) return failed("compare: no such dataset or group");
  if (H5Iget_type(c.a) == H5I_GROUP) {
    H5Literate(c.a, H5_INDEX_NAME, H5_ITER_INC, NULL, compare_link, &c);
  } else {
    gd_comparison roots = {.a = file_a, .b = file_b, .tolerance = c.tolerance};
    compare_dataset(&roots, argv[1], argv[3]);
    c.n_compared = roots.n_compared;
    c.n_failed = roots.n_failed;
  }
  H5Oclose(c.a);
  H5Oclose(c.b);
  H5Fclose(file_a);
  H5Fclose(file_b);
  return c.n_failed > 0 || c.n_compared == 0;
}

static int run_with_small_pages(char *const *command) {
  if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) return failed("cannot disable huge pages");
  execvp(command[0], command);
  return failed("cannot run the command");
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "", *third = argc > 3 ? argv[3] : NULL;
  if (strcmp(what, "weights") == 0) return make_weights(argv[2], third);
  if (strcmp(what, "noise") == 0) return make_noise(argv[2], third);
  if (strcmp(what, "idx") == 0) return make_idx(argv[2], third);
  if (strcmp(what, "features") == 0 && argc == 7)
    return make_features(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10),
                         strtod(argv[6], NULL));
  if (strcmp(what, "flip") == 0) return flip(argv[2]);
  if (strcmp(what, "poison") == 0) return poison(argv[2]);
  if (strcmp(what, "check") == 0) return check(argv + 2);
  if (strcmp(what, "small-pages") == 0) return run_with_small_pages(argv + 2);
  if (strcmp(what, "compare") == 0 && argc == 7) return compare(argv + 2);
  return failed("bad arguments; its first lines say how it is called");
}
