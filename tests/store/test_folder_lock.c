/* A folder has one writer: a second process is refused with the name of the first. A writer that has ended does not
 * block. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "store/folder_lock.h"
#include "store_small.h"

enum { RECORD_NBYTES = 1023 };

static const double patience = 1.5;

static void put_record(int fd, const char *record) {
  char padded[RECORD_NBYTES + 1];
  snprintf(padded, sizeof padded, "%-*s\n", RECORD_NBYTES - 1, record);
  assert_int_equal(pwrite(fd, padded, RECORD_NBYTES, 0), RECORD_NBYTES);
}

static int open_lock_file(const char *folder) {
  char *path = gd_format("%s/run.lock", folder);
  int fd = open(path, O_RDWR | O_CREAT, 0666);
  assert_true(fd >= 0);
  gd_free(path);
  return fd;
}

// A record that another node has left.
static void leave_record(const char *folder, const char *record) {
  if (test_comm->rank == 0) {
    int fd = open_lock_file(folder);
    put_record(fd, record);
    close(fd);
  }
  MPI_Barrier(test_comm->mpi);
}

static char *read_text(const char *folder) {
  char *text = gd_alloc_zero(RECORD_NBYTES + 1);
  int fd = open_lock_file(folder);
  assert_true(read(fd, text, RECORD_NBYTES) >= 0);
  close(fd);
  return text;
}

// Starts another process on this node that takes the folder and keeps it; returns its id on rank 0.
static pid_t start_holder(const char *folder) {
  int ready[2];
  char byte;
  if (test_comm->rank != 0) return 0;
  assert_int_equal(pipe(ready), 0);
  pid_t holder = fork();
  if (holder == 0) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char boot[64] = "", *record;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    int fd = open_lock_file(folder);
    if (!file || !fgets(boot, sizeof boot, file) || fcntl(fd, F_SETLK, &whole) != 0) _exit(1);
    boot[strcspn(boot, "\n")] = 0;
    record = gd_format(
        "{\"work\": \"train\", \"host\": \"node7\", \"boot\": \"%s\", \"process\": 77, \"job\": \"12\", "
        "\"since\": \"yesterday\"}",
        boot);
    put_record(fd, record);
    if (write(ready[1], "r", 1) != 1) _exit(1);
    for (;;) pause();
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  close(ready[1]);
  return holder;
}

static void kill_holder(pid_t holder) {
  if (test_comm->rank == 0) {
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
  }
  MPI_Barrier(test_comm->mpi);
}

static void test_holder_on_this_node(void **state) {
  (void)state;
  char *folder = test_folder_create();
  pid_t holder = start_holder(folder);
  gd_folder_lock *lock;
  double start = gd_seconds();
  assert_int_equal(gd_folder_lock_take(&lock, test_comm, folder, "evaluate"), GD_ERR_INPUT);
  assert_null(lock);
  assert_message("run.lock: the folder is in use by `train`, process 77 on node7, Slurm job 12, since yesterday");
  kill_holder(holder);
  assert_ok(gd_folder_lock_take(&lock, test_comm, folder, "evaluate"));  // a killed job does not block
  assert_true(gd_seconds() - start < patience);
  gd_folder_lock_release(&lock);
  test_folder_remove(folder);
}

static void test_release(void **state) {
  (void)state;
  char *folder = test_folder_create(), *inner = gd_format("%s/a/b", folder);
  for (int i = 0; i < 2; i++) {
    gd_folder_lock *lock;
    assert_ok(gd_folder_lock_take(&lock, test_comm, inner, "train"));
    MPI_Barrier(test_comm->mpi);
    if (test_comm->rank == 1) {
      char *text = read_text(inner);
      assert_non_null(strstr(text, "\"work\":\"train\""));
      gd_free(text);
    }
    MPI_Barrier(test_comm->mpi);
    gd_folder_lock_release(&lock);
    assert_null(lock);
    gd_folder_lock_release(&lock);
  }
  gd_free(inner);
  test_folder_remove(folder);
}

#define OTHER_NODE "\"work\": \"train\", \"host\": \"node8\", \"boot\": \"b\", \"process\": 5, \"since\": \"noon\""

// Its lock is not visible here, as on Lustre with localflock, but its counter is.
static void test_alive_on_another_node(void **state) {
  (void)state;
  char *folder = test_folder_create();
  leave_record(folder, "{" OTHER_NODE ", \"count\": 1}");
  pid_t counter = 0;
  if (test_comm->rank == 0 && (counter = fork()) == 0) {
    int fd = open_lock_file(folder);
    usleep(300000);
    put_record(fd, "{" OTHER_NODE ", \"count\": 2}");
    for (;;) pause();
  }
  gd_folder_lock *lock;
  assert_int_equal(gd_folder_lock_take(&lock, test_comm, folder, "train"), GD_ERR_INPUT);
  assert_message("process 5 on node8, since noon");
  kill_holder(counter);
  test_folder_remove(folder);
}

static void test_gone_on_another_node(void **state) {
  (void)state;
  char *folder = test_folder_create();
  leave_record(folder, "{" OTHER_NODE ", \"count\": 1}");
  gd_folder_lock *lock;
  double start = gd_seconds();
  assert_ok(gd_folder_lock_take(&lock, test_comm, folder, "train"));
  assert_true(gd_seconds() - start >= patience);
  gd_folder_lock_release(&lock);
  test_folder_remove(folder);
}

static void test_requeued_job(void **state) {
  (void)state;
  char *folder = test_folder_create();
  leave_record(folder, "{" OTHER_NODE ", \"job\": \"4711\", \"restart\": \"\"}");
  setenv("SLURM_JOB_ID", "4711", 1);
  setenv("SLURM_RESTART_COUNT", "1", 1);
  gd_folder_lock *lock;
  double start = gd_seconds();
  assert_ok(gd_folder_lock_take(&lock, test_comm, folder, "train"));
  assert_true(gd_seconds() - start < patience);
  gd_folder_lock_release(&lock);
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_RESTART_COUNT");
  test_folder_remove(folder);
}

static void test_unreadable_record(void **state) {
  (void)state;
  char *folder = test_folder_create();
  leave_record(folder, "{\"work\": \"tr");
  gd_folder_lock *lock;
  assert_ok(gd_folder_lock_take(&lock, test_comm, folder, "train"));
  gd_folder_lock_release(&lock);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_holder_on_this_node),   cmocka_unit_test(test_release),
      cmocka_unit_test(test_alive_on_another_node), cmocka_unit_test(test_gone_on_another_node),
      cmocka_unit_test(test_requeued_job),          cmocka_unit_test(test_unreadable_record),
  };
  gd_folder_lock_patience(patience);
  return GD_TEST_MAIN(tests);
}
