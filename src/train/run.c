/* The continual run: task after task, epoch after epoch, with checkpoints, sample sets and metrics on the way. */
#include "train/run.h"

#include <string.h>

enum { MAX_SKIPPED = 100 };  // steps in a row

/* ---- Checkpoints on the way ---- */

static gd_err save_checkpoint(gd_run *run) {
  double start = gd_seconds();
  gd_progress("checkpoint");
  gd_err err = gd_metrics_flush(run->metrics);  // lines first: a resumed run drops what is too new
  if (err == GD_OK) err = gd_trainer_save(run->trainer, &run->position, &run->digest);
  run->last_checkpoint = gd_seconds();
  run->seconds_io += run->last_checkpoint - start;
  return err;
}

/* ---- Tasks, epochs, steps ---- */

// What this rank asks of all.
static unsigned rank_requests(const gd_run *run) {
  double minutes = run->config->output.checkpoint_minutes;
  bool due = run->comm->rank == 0 && minutes > 0 && gd_seconds() - run->last_checkpoint > 60 * minutes;
  return (due ? GD_REQUEST_CHECKPOINT : 0) | (gd_stop_check() == GD_OK ? 0 : GD_REQUEST_STOP);
}

// A checkpoint of what a failed step has left as it was; the step's message stays the one.
static gd_err keep_state_before(gd_run *run, gd_err err) {
  char *why = gd_strdup(gd_error_message());
  if (save_checkpoint(run) == GD_OK)
    gd_error_record(
        "%s; the state before it is the newest checkpoint: go on with --resume and training.nonfinite=skip, "
        "or begin anew with a smaller training.learning_rate",
        why);
  else
    gd_error_context(err, "%s", why);
  gd_free(why);
  return err;
}

// Skipping is for single steps: a run that learns nothing any more must not end as if all were well.
static gd_err check_skipped(const gd_run *run, bool last_of_task) {
  const char *help = "--resume would skip them again, so begin anew with a smaller training.learning_rate";
  if (run->n_skipped >= MAX_SKIPPED)
    return gd_error(GD_ERR_FAILED, "%s; %d steps in a row were skipped: %s", gd_error_message(), run->n_skipped, help);
  if (last_of_task && run->n_skipped > 0 && !gd_trainer_has_learned(run->trainer))
    return gd_error(GD_ERR_FAILED, "%s; all steps of the task were skipped: %s", gd_error_message(), help);
  return GD_OK;
}

static gd_err one_step(gd_run *run, const uint32_t *indices, int n, bool last_of_task) {
  gd_position *p = &run->position;
  gd_step_metrics metrics;
  gd_progress("training step");
  gd_progress_step(p->task + 1, p->step + 1);
  gd_err err = gd_trainer_step(run->trainer, p->step + 1, indices, n, rank_requests(run), &metrics);
  if (err != GD_OK) return keep_state_before(run, err);
  p->step++;
  p->global_step++;
  gd_metrics_step(run->metrics, p, n, &metrics, run->seconds_io);
  run->seconds_io = 0;
  run->n_skipped = metrics.skipped ? run->n_skipped + 1 : 0;
  err = check_skipped(run, last_of_task);
  if (err != GD_OK) return err;
  int every = run->config->output.checkpoint_steps;
  bool due = metrics.requests || (every > 0 && p->step % every == 0);
  if (!due || last_of_task) return GD_OK;  // the end of a task writes its own
  err = save_checkpoint(run);
  return err == GD_OK && metrics.requests & GD_REQUEST_STOP ? gd_comm_agree(run->comm, gd_stop_check()) : err;
}

// How the errors of an epoch, or of its rest after a resume, are spread over the timesteps.
static void write_bins(gd_run *run) {
  gd_trainer *t = run->trainer;
  gd_metrics_bins(run->metrics, &run->position, t);
  memset(t->bins, 0, sizeof t->bins);
  t->bins_steps = 0;
}

// The pool's share of the epoch. A run that is asked to stop meanwhile goes on from the end of the epoch before.
static gd_err begin_epoch(gd_run *run) {
  gd_replay_cost cost;
  gd_progress("replay pool");
  gd_err err = gd_trainer_begin_epoch(run->trainer, run->position.epoch, &cost);
  if (err == GD_OK && cost.images > 0) gd_metrics_pool(run->metrics, &run->position, &cost);
  if (err != GD_STOPPED) return err;
  err = save_checkpoint(run);
  return err == GD_OK ? gd_comm_agree(run->comm, gd_stop_check()) : err;
}

static gd_err run_epoch(gd_run *run, const uint32_t *images, int64_t n_images, int64_t n_steps) {
  gd_err err = GD_OK;
  int batch = run->config->training.batch_size;
  uint32_t *order = GD_NEW_ARRAY(uint32_t, n_images);
  gd_epoch_order(run->config->seed, run->position.task, run->position.epoch, n_images, order);
  for (int64_t i = 0; i < n_images; i++) order[i] = images[order[i]];
  bool last_epoch = run->position.epoch == run->config->training.epochs - 1;
  for (int64_t s = run->position.step - run->position.epoch * n_steps; s < n_steps; s++) {
    int64_t left = n_images - s * batch;
    GD_TRY(one_step(run, order + s * batch, (int)(left < batch ? left : batch), last_epoch && s == n_steps - 1));
  }
  write_bins(run);
done:
  gd_free(order);
  return err;
}

static int64_t steps_per_epoch(const gd_run *run, int64_t n_images) {
  return (n_images + run->config->training.batch_size - 1) / run->config->training.batch_size;
}

static gd_err prepare_task(gd_run *run, int64_t n_steps) {
  gd_replay_cost prepared;
  const char *name = gd_replay_folder(run->config);
  gd_progress("replay pool");
  char *folder = name ? gd_format("%s/%s", run->config->output.directory, name) : NULL;
  gd_err err = gd_trainer_prepare(run->trainer, n_steps * run->config->training.epochs, folder, &prepared);
  if (err == GD_OK && prepared.images > 0) gd_metrics_pool(run->metrics, &run->position, &prepared);
  gd_free(folder);
  return err;
}

// The regulariser's share of the task.
static gd_err end_task(gd_run *run, const uint32_t *images, int64_t n_images) {
  double start = gd_seconds();
  int64_t n_gradients;
  gd_progress("gradients of single images");
  gd_err err = gd_trainer_end_task(run->trainer, images, n_images, &n_gradients);
  if (n_gradients > 0) gd_metrics_gradients(run->metrics, &run->position, n_gradients, gd_seconds() - start);
  return err;
}

static gd_err run_task(gd_run *run, const uint32_t *images, int64_t n_images) {
  int64_t n_steps = steps_per_epoch(run, n_images);
  gd_position *p = &run->position;
  gd_err err = prepare_task(run, n_steps);
  if (err != GD_OK) return err;
  for (p->epoch = (int)(p->step / n_steps); p->epoch < run->config->training.epochs; p->epoch++) {
    err = begin_epoch(run);
    if (err == GD_OK) err = run_epoch(run, images, n_images, n_steps);
    if (err != GD_OK) return err;
  }
  err = end_task(run, images, n_images);
  if (err != GD_OK) return err;
  p->task_done = true;
  err = save_checkpoint(run);
  return err == GD_OK ? gd_run_conclude_task(run) : err;
}

static gd_err task_images(const gd_run *run, int task, uint32_t **images, int64_t *n) {
  *images = gd_strategy_images(run->config, run->dataset, &run->split, task, n);
  if (*n == 0)
    return gd_error(GD_ERR_INPUT, "task %d has no training images: none of its classes is in %s", task + 1,
                    run->config->dataset.path);
  if (*n >= run->config->training.slots) return GD_OK;
  return gd_error(GD_ERR_INPUT,
                  "task %d has %lld training images, but training.slots is %d: a slot needs an image, so lower "
                  "training.slots%s",
                  task + 1, (long long)*n, run->config->training.slots,
                  run->config->dataset.limit > 0 ? ", or raise dataset.limit" : "");
}

static gd_err total_steps(const gd_run *run, int64_t *total) {
  *total = 0;
  for (int task = 0; task < gd_strategy_n_tasks(run->config); task++) {
    uint32_t *images = NULL;
    int64_t n;
    gd_err err = task_images(run, task, &images, &n);
    gd_free(images);
    if (err != GD_OK) return err;
    *total += steps_per_epoch(run, n) * run->config->training.epochs;
  }
  return GD_OK;
}

static gd_err run_tasks(gd_run *run, bool resumed) {
  gd_err err = GD_OK;
  gd_position *p = &run->position;
  bool in_task = resumed && !p->task_done;
  if (resumed && p->task_done) *p = (gd_position){.task = p->task + 1, .global_step = p->global_step};
  for (; p->task < gd_strategy_n_tasks(run->config);
       *p = (gd_position){.task = p->task + 1, .global_step = p->global_step}) {
    uint32_t *images;
    int64_t n;
    err = task_images(run, p->task, &images, &n);
    if (err == GD_OK) {
      if (!in_task) gd_trainer_begin_task(run->trainer, p->task);
      gd_log(GD_LOG_INFO, "task %d of %d: %lld images, %d epochs of %lld steps", p->task + 1,
             gd_strategy_n_tasks(run->config), (long long)n, run->config->training.epochs,
             (long long)steps_per_epoch(run, n));
      err = run_task(run, images, n);
    }
    in_task = false;
    gd_free(images);
    if (err != GD_OK) break;
  }
  return err;
}

/* ---- The whole run ---- */

// Whether configuration, data and ranks fit together; reads the data set.
static gd_err check_input(gd_run *run) {
  gd_err err;
  GD_TRY(gd_trainer_check(run->comm, run->config));
  gd_progress("reading the data set");
  GD_TRY(gd_dataset_read(&run->dataset, run->comm, &run->config->dataset, GD_TRAIN));
  GD_TRY(gd_comm_agree(
      run->comm, gd_task_split_make(&run->split, &run->config->tasks, run->config->seed, run->dataset->n_classes)));
  if (!run->resume) GD_TRY(gd_weights_read(run->comm, run->config, &run->weights));
  err = gd_comm_agree(run->comm, total_steps(run, &run->n_steps));
  for (int task = 0; err == GD_OK && task < run->split.n_tasks; task++)
    gd_task_split_warn(&run->split, run->dataset, task, "training");
done:
  return err;
}

gd_err gd_run_create(gd_run **out, const gd_comm *comm, const gd_config *config, bool resume) {
  gd_err err;
  gd_run *run = GD_NEW(gd_run);
  *run = (gd_run){.comm = comm, .config = config, .resume = resume};
  *out = NULL;
  GD_TRY(check_input(run));
  GD_TRY(gd_run_take_folder(run));
  *out = run;
  run = NULL;
done:
  gd_run_destroy(&run);
  return err;
}

void gd_run_destroy(gd_run **run) {
  if (!*run) return;
  gd_metrics_destroy(&(*run)->metrics);
  gd_trainer_destroy(&(*run)->trainer);
  gd_dataset_destroy(&(*run)->dataset);
  gd_free((*run)->weights);
  gd_folder_lock_release(&(*run)->lock);
  gd_free(*run);
  *run = NULL;
}

// The trainer as the newest checkpoint says, and the folder ready for it. Nothing is written before the last check.
static gd_err begin_run(gd_run *run, bool *resumed) {
  gd_err err;
  *resumed = false;
  GD_TRY(gd_trainer_create(&run->trainer, run->comm, run->config, run->dataset));
  run->trainer->data_digest = gd_dataset_digest(run->dataset);
  gd_progress("looking for checkpoints");
  if (run->resume) GD_TRY(gd_trainer_restore(run->trainer, &run->position, resumed));
  if (!*resumed) GD_TRY(gd_weights_read(run->comm, run->config, &run->weights));
  if (run->weights) gd_trainer_take_weights(run->trainer, run->weights);
  gd_free(run->weights);
  run->weights = NULL;
  if (run->resume && !*resumed) {
    GD_TRY(gd_run_refuse_lost_checkpoints(run));
    gd_log(GD_LOG_INFO, "no checkpoint in %s: starting at the beginning", run->config->output.directory);
  }
  GD_TRY(gd_run_find_outdated(run));
  GD_TRY(gd_run_prepare_folder(run));
  run->digest = gd_param_table_digest(run->trainer->table, run->trainer->params);
  run->last_checkpoint = gd_seconds();
  gd_progress("opening metrics.jsonl");
  err = gd_metrics_create(&run->metrics, run->comm, run->config->output.directory, &run->position, run->is_outdated,
                          run->n_steps);
done:
  return err;
}

gd_err gd_run_train(gd_run *run, gd_after_task after_task, void *context, uint64_t *digest) {
  gd_err err;
  bool resumed;
  run->after_task = after_task;
  run->after_task_context = context;
  GD_TRY(begin_run(run, &resumed));
  err = gd_run_renew_outdated(run);
  if (err == GD_OK) err = run_tasks(run, resumed);
  if (err == GD_ERR_FAILED && !strstr(gd_error_message(), "--resume"))
    gd_error_record("%s; once that is put right, train --resume goes on from the newest checkpoint",
                    gd_error_message());
  if (err == GD_OK) *digest = run->digest;
done:
  return err;
}
