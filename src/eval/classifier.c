/* The evaluation classifier: ResNet-18 trained once on all the real classes, kept in the cache, used to label images
 * and to give their features. Found again by a digest of everything that its parameters depend on. */
#include "eval/classifier.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/cache.h"
#include "gendistill/eval.h"
#include "gendistill/learn.h"
#include "gendistill/model.h"

static const int widths[4] = {64, 128, 256, 512};

struct gd_classifier {
  const gd_comm *comm;
  int n_classes;
  gd_net *net;       // features, then logits
  gd_plan *plan;     // inference, GD_IMAGE_CHUNK images
  gd_checkpoint of;  // as in the file: parameters, accuracy, digest
  char *path;
};

/* ---- Training ---- */

typedef struct training {
  const gd_config *config;
  const gd_dataset *images;
  int size;  // to which the network wants them enlarged
  gd_random key;
  const uint32_t *order;  // of this step's images
  int64_t n_rows;
} training;

// An image moved by (dy, dx) pixels with black where nothing was, mirrored or not.
static void augment_image(const uint8_t *image, int size, int channels, int dy, int dx, bool flip, float *out) {
  for (int y = 0; y < size; y++) {
    for (int x = 0; x < size; x++, out += channels) {
      int from_y = y + dy, from_x = (flip ? size - 1 - x : x) + dx;
      bool inside = from_y >= 0 && from_y < size && from_x >= 0 && from_x < size;
      static const uint8_t black[4] = {0};
      gd_pixels_normalise(inside ? image + (from_y * size + from_x) * channels : black, channels, out);
    }
  }
}

static void fill_augmented(void *context, int64_t row, gd_classification_row *out) {
  const training *t = context;
  int shift = t->config->classifier.shift;
  float draws[3];
  gd_random_uniform(t->key, (uint64_t)row, 3, draws);
  int dy = (int)(draws[0] * (float)(2 * shift + 1)) - shift, dx = (int)(draws[1] * (float)(2 * shift + 1)) - shift;
  gd_images images = gd_dataset_images(t->images, 0);
  uint8_t *image = gd_images_get(&images, t->order[row], t->size);
  bool flip = t->config->classifier.horizontal_flip && draws[2] < 0.5f;
  augment_image(image, t->size, images.channels, dy, dx, flip, out->inputs[0]);
  gd_free(image);
  out->target[t->images->labels[t->order[row]]] = 1;
  out->weight = 1.0 / (double)t->n_rows;
}

static gd_err train_classifier_epoch(gd_classification *classification, training *t, const uint32_t *order, int epoch,
                                     int64_t n_steps) {
  double sum = 0, start = gd_seconds();
  int64_t total = n_steps * t->config->classifier.epochs;
  for (int64_t s = 0; s < n_steps; s++) {
    int64_t step = epoch * n_steps + s;
    double loss, rate = 0.5 * (1 + cos(M_PI * (double)step / (double)total));
    t->key.step = (uint32_t)step;
    t->order = order + s * t->n_rows;
    gd_err err = gd_classification_step(classification, t->config->classifier.learning_rate * rate, t->n_rows,
                                        fill_augmented, t, &loss);
    if (err != GD_OK) return gd_error_context(err, "evaluation classifier");
    sum += loss;
  }
  double seconds = gd_seconds() - start;
  gd_log(GD_LOG_INFO, "evaluation classifier, epoch %d of %d: loss %.4f, %.0f images/s", epoch + 1,
         t->config->classifier.epochs, sum / (double)n_steps, (double)(n_steps * t->n_rows) / seconds);
  return GD_OK;
}

static gd_err train_classifier_epochs(gd_classification *classification, training *t) {
  const gd_config *config = t->config;
  int64_t n = t->images->n, limit = config->classifier.limit;
  int64_t n_used = limit > 0 && limit < n ? limit : n, n_steps = n_used / t->n_rows;
  uint64_t seed = config->classifier.seed;
  gd_err err = GD_OK;
  if (n_steps == 0)
    return gd_error(GD_ERR_INPUT, "%s: %lld training images are fewer than classifier.batch_size (%lld)",
                    config->dataset.path, (long long)n_used, (long long)t->n_rows);
  uint32_t *subset = GD_NEW_ARRAY(uint32_t, n), *order = GD_NEW_ARRAY(uint32_t, n_used);
  gd_random_permutation((gd_random){seed, GD_RANDOM_SUBSET, 0, 0}, (uint32_t)n, subset);
  for (int epoch = 0; epoch < config->classifier.epochs && err == GD_OK; epoch++) {
    gd_epoch_order(seed, 0, epoch, n_used, order);
    for (int64_t i = 0; i < n_used; i++) order[i] = subset[order[i]];
    err = train_classifier_epoch(classification, t, order, epoch, n_steps);
  }
  gd_free(subset);
  gd_free(order);
  return err;
}

static gd_err train_classifier(gd_classifier *c, const gd_config *config, const gd_dataset *dataset) {
  gd_err err;
  gd_net *net = NULL;
  gd_classification *classification = NULL;
  training t = {.config = config,
                .images = dataset,
                .size = gd_net_input_shape(c->net, 0).h,
                .key = {.seed = config->classifier.seed, .purpose = GD_RANDOM_AUGMENT},
                .n_rows = config->classifier.batch_size};
  gd_resnet18_create(&net, t.size, dataset->channels, widths, c->n_classes, false);
  GD_TRY(gd_classification_create(&classification, c->comm, net, config->classifier.slots, t.n_rows,
                                  config->classifier.seed, NULL));
  GD_TRY(gd_comm_agree(c->comm, train_classifier_epochs(classification, &t)));
  size_t nbytes = (size_t)gd_net_params(net)->total * sizeof(float);
  gd_checkpoint_add(&c->of, "model", memcpy(gd_alloc(nbytes), gd_classification_params(classification), nbytes));
done:
  gd_classification_destroy(&classification);
  gd_net_destroy(&net);
  return err;
}

/* ---- Use ---- */

void gd_classifier_extract(gd_classifier *c, int64_t n_global, const gd_images *images, uint8_t *labels,
                           gd_features *features) {
  int n_features = widths[3], width = n_features + c->n_classes;
  gd_range local = gd_range_images(c->comm, n_global);
  int64_t n = local.end - local.begin;
  float *outputs = GD_NEW_ARRAY(float, n *width);
  gd_extract(c->plan, c->net, n, images, outputs);
  if (features)
    *features = (gd_features){
        .n_global = n_global, .width = n_features, .local = local, .values = GD_NEW_ARRAY(double, n *n_features)};
  for (int64_t i = 0; i < n; i++) {
    const float *row = outputs + i * width;
    if (labels) labels[i] = (uint8_t)gd_largest(row + n_features, c->n_classes);
    for (int k = 0; features && k < n_features; k++) features->values[i * n_features + k] = row[k];
  }
  gd_free(outputs);
}

// Share of the images that it labels right. Collective on comm.
static double measure_accuracy(gd_classifier *c, const gd_dataset *test) {
  gd_range local = gd_range_images(c->comm, test->n);
  uint8_t *labels = gd_alloc((size_t)(local.end - local.begin) + 1);
  int64_t right = 0;
  gd_images images = gd_dataset_images(test, local.begin);
  gd_classifier_extract(c, test->n, &images, labels, NULL);
  for (int64_t i = local.begin; i < local.end; i++) right += labels[i - local.begin] == test->labels[i];
  MPI_Allreduce(MPI_IN_PLACE, &right, 1, MPI_INT64_T, MPI_SUM, c->comm->mpi);
  gd_free(labels);
  return (double)right / (double)test->n;
}

/* ---- Cache ---- */

// All that the parameters and the accuracy depend on.
static char *describe_classifier(const gd_config *config, gd_dataset *train_set, gd_dataset *test, int size) {
  return gd_format(
      "network: resnet18 %d %d %d %d\ndata: %s %d %016" PRIx64 " %016" PRIx64
      "\nseed: %llu\nimage_size: %d\nlimit: %d\nepochs: %d\nbatch_size: %d\nlearning_rate: %.17g\nslots: %d\n"
      "shift: %d\nhorizontal_flip: %d\n",
      widths[0], widths[1], widths[2], widths[3], gd_dataset_name(config->dataset.name), train_set->size,
      gd_dataset_digest(train_set), gd_dataset_digest(test), (unsigned long long)config->classifier.seed, size,
      config->classifier.limit, config->classifier.epochs, config->classifier.batch_size,
      config->classifier.learning_rate, config->classifier.slots, config->classifier.shift,
      config->classifier.horizontal_flip);
}

static gd_err store_classifier(gd_classifier *c, const char *draft, const char *description) {
  c->of.config_text = gd_strdup(description);
  c->of.code_version = gd_strdup(GD_VERSION);
  c->of.task_done = true;
  gd_err err = gd_checkpoint_write(c->comm, draft, gd_net_params(c->net), &c->of);
  return err == GD_OK ? gd_cache_publish(c->comm, draft, c->path) : err;
}

// False where there is none, or a damaged one, which is made again.
static bool find_classifier(gd_classifier *c) {
  if (!gd_cache_has(c->comm, c->path)) return false;
  if (gd_checkpoint_read(c->comm, c->path, gd_net_params(c->net), &c->of) == GD_OK) return true;
  gd_log(GD_LOG_WARN, "%s; training the evaluation classifier again", gd_error_message());
  gd_checkpoint_clear(&c->of);
  return false;
}

static gd_err make_classifier(gd_classifier *c, const gd_config *config, const gd_dataset *train_set,
                              const gd_dataset *test, const char *description) {
  double start = gd_seconds();
  char *draft = NULL;
  gd_err err;
  GD_TRY(gd_cache_begin(c->comm, c->path, &draft));  // before the long work
  GD_TRY(train_classifier(c, config, train_set));
  gd_plan_load(c->plan, gd_checkpoint_array(&c->of, "model"));
  c->of.accuracy = measure_accuracy(c, test);
  GD_TRY(store_classifier(c, draft, description));
  gd_log(GD_LOG_INFO, "evaluation classifier: %.2f %% of the test images right, %.0f s, %s", 100 * c->of.accuracy,
         gd_seconds() - start, c->path);
done:
  gd_free(draft);
  return err;
}

gd_err gd_classifier_obtain(gd_classifier **out, const gd_comm *comm, const gd_config *config, gd_dataset *train_set,
                            gd_dataset *test) {
  gd_err err;
  gd_classifier *c = GD_NEW(gd_classifier);
  *out = NULL;
  c->comm = comm;
  c->n_classes = test->n_classes;
  int wanted = config->classifier.image_size, size = wanted > test->size ? wanted : test->size;
  char *description = describe_classifier(config, train_set, test, size);
  c->path = gd_cache_path(config->evaluation.cache, "classifier", gd_digest(description, strlen(description), 0), "h5");
  gd_resnet18_create(&c->net, size, test->channels, widths, c->n_classes, true);
  GD_TRY(gd_comm_agree(comm, gd_plan_create(&c->plan, c->net, GD_IMAGE_CHUNK, GD_INFERENCE, GD_FLOAT32)));
  if (!find_classifier(c)) GD_TRY(make_classifier(c, config, train_set, test, description));
  gd_plan_load(c->plan, gd_checkpoint_array(&c->of, "model"));
  *out = c;
  c = NULL;
done:
  gd_classifier_destroy(&c);
  gd_free(description);
  return err;
}

void gd_classifier_destroy(gd_classifier **classifier) {
  gd_classifier *c = *classifier;
  if (!c) return;
  gd_plan_destroy(&c->plan);
  gd_net_destroy(&c->net);
  gd_checkpoint_clear(&c->of);
  gd_free(c->path);
  gd_free(c);
  *classifier = NULL;
}

int gd_classifier_width(const gd_classifier *classifier) {
  return gd_net_output_shape(classifier->net).c - classifier->n_classes;
}

double gd_classifier_accuracy(const gd_classifier *classifier) {
  return classifier->of.accuracy;
}

uint64_t gd_classifier_digest(const gd_classifier *classifier) {
  return classifier->of.digest;
}

const char *gd_classifier_path(const gd_classifier *classifier) {
  return classifier->path;
}
