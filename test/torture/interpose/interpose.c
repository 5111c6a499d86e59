/*
 * Preloaded into a process (LD_PRELOAD), it stands between SQLite and the C library for all files whose path
 * begins with $TORTURE_WATCH, and does what the environment asks for:
 *
 *   TORTURE_TRACE=file      writes down every change of the watched files, in order, with its data
 *   TORTURE_KILL_AT=n       kills the process with SIGKILL at its n-th change, before it is made; taking and
 *                           giving back a lock counts too, so that the first and the last moment of a
 *                           transaction can be met
 *   TORTURE_KILL_LATE=1     ... but when that change is a lock, after it; a write, after its first half
 *   TORTURE_FAULTS=file     while the file says "<operations> <errno>", such as "WS 5", those operations fail;
 *                           an errno of 0 stops the process with SIGSTOP before the operation instead
 *
 * Operations: O create, W write, T truncate, S sync, U unlink, R rename; C, close, is only traced. A change made
 * through writable shared memory would go unseen, so such a mapping ends the process, except that of SQLite's
 * -shm file, which needs no durability (sqlite.org/walformat.html, section 2.2).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define MAX_FDS 65536

enum { FILE_OTHER, FILE_WATCHED, FILE_SHARED_MEMORY };

/* One entry of the trace, followed by `length` bytes: a path, data, or two paths with a NUL between them. */
struct entry {
  uint32_t operation;
  int32_t fd;
  uint64_t offset;
  uint32_t length;
  uint32_t created;
};

static const char *watch;
static const char *faults;
static size_t watch_length;
static long kill_at;
static int kill_late;
static int trace = -1;
static long changes;
static unsigned char kinds[MAX_FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);
static int (*real_close)(int);
static int (*real_fcntl)(int, int, ...);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);

__attribute__((constructor)) static void start(void) {
  real_open = dlsym(RTLD_NEXT, "open64");
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_rename = dlsym(RTLD_NEXT, "rename");
  real_close = dlsym(RTLD_NEXT, "close");
  real_fcntl = dlsym(RTLD_NEXT, "fcntl64");
  real_mmap = dlsym(RTLD_NEXT, "mmap64");
  const char *trace_file = getenv("TORTURE_TRACE");
  if (trace_file) trace = real_open(trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  kill_at = getenv("TORTURE_KILL_AT") ? atol(getenv("TORTURE_KILL_AT")) : 0;
  kill_late = getenv("TORTURE_KILL_LATE") != NULL;
  faults = getenv("TORTURE_FAULTS");
  watch = getenv("TORTURE_WATCH");
  watch_length = watch ? strlen(watch) : 0;
}

static void give_up(const char *why) {
  fprintf(stderr, "interpose: %s\n", why);
  abort();
}

static int kind_of_path(const char *path) {
  if (!watch || strncmp(path, watch, watch_length) != 0) return FILE_OTHER;
  size_t length = strlen(path);
  return length > 4 && strcmp(path + length - 4, "-shm") == 0 ? FILE_SHARED_MEMORY : FILE_WATCHED;
}

static int is_watched(int fd) { return fd >= 0 && fd < MAX_FDS && kinds[fd] == FILE_WATCHED; }

static void record(char operation, int fd, off_t offset, const void *data, size_t length, int created) {
  if (trace < 0) return;
  struct entry entry = {operation, fd, offset, length, created};
  if (real_write(trace, &entry, sizeof entry) != sizeof entry) give_up("the trace can't be written");
  if (length && real_write(trace, data, length) != (ssize_t)length) give_up("the trace can't be written");
}

static void record_path(char operation, int fd, const char *path, int created) {
  record(operation, fd, 0, path, strlen(path), created);
}

/* Whether the operation must fail now; if so, errno says how. */
static int is_faulty(char operation) {
  if (!faults) return 0;
  char text[64] = "";
  int fd = real_open(faults, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  real_close(fd);
  char *space = length > 0 ? strchr(text, ' ') : NULL;
  if (!space) return 0;
  *space = 0;
  if (!strchr(text, operation)) return 0;
  errno = atoi(space + 1);
  if (errno) return 1;
  raise(SIGSTOP);
  return 0;
}

static int is_last_change(void) { return ++changes == kill_at; }

static void die(void) {
  kill(getpid(), SIGKILL);
  pause();
}

static int opened(const char *path, int flags, mode_t mode) {
  int kind = kind_of_path(path);
  if (kind != FILE_WATCHED) {
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < MAX_FDS) kinds[fd] = kind;
    return fd;
  }
  pthread_mutex_lock(&lock);
  int created = (flags & O_CREAT) && access(path, F_OK) != 0;
  int fd = -1;
  if (!created || !is_faulty('O')) {
    if (created && is_last_change()) die();
    fd = real_open(path, flags, mode);
  }
  if (fd >= MAX_FDS) give_up("too many open files");
  if (fd >= 0) {
    kinds[fd] = kind;
    record_path('O', fd, path, created);
    if (flags & O_TRUNC) record('T', fd, 0, NULL, 0, 0);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

#define OPEN(name)                              \
  int name(const char *path, int flags, ...) {  \
    va_list arguments;                          \
    va_start(arguments, flags);                 \
    mode_t mode = va_arg(arguments, mode_t);    \
    va_end(arguments);                          \
    return opened(path, flags, mode);           \
  }
OPEN(open)
OPEN(open64)

/* An offset below zero stands for the file's own position. */
static ssize_t written(int fd, const void *data, size_t length, off_t offset) {
  if (!is_watched(fd)) return offset < 0 ? real_write(fd, data, length) : real_pwrite(fd, data, length, offset);
  pthread_mutex_lock(&lock);
  ssize_t done = -1;
  if (!is_faulty('W')) {
    off_t start = offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
    if (is_last_change()) {
      if (kill_late) real_pwrite(fd, data, length / 2, start);
      die();
    }
    done = offset < 0 ? real_write(fd, data, length) : real_pwrite(fd, data, length, offset);
    if (done > 0) record('W', fd, start, data, done, 0);
  }
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset); }

static int truncated(int fd, off_t size) {
  if (!is_watched(fd)) return real_ftruncate(fd, size);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!is_faulty('T')) {
    if (is_last_change()) die();
    result = real_ftruncate(fd, size);
    if (result == 0) record('T', fd, size, NULL, 0, 0);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off_t size) { return truncated(fd, size); }

static int synced(int fd, int (*sync)(int)) {
  if (!is_watched(fd)) return sync(fd);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!is_faulty('S')) {
    if (is_last_change()) die();
    result = sync(fd);
    if (result == 0) record('S', fd, 0, NULL, 0, 0);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int unlink(const char *path) {
  if (kind_of_path(path) != FILE_WATCHED) return real_unlink(path);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!is_faulty('U')) {
    if (is_last_change()) die();
    result = real_unlink(path);
    if (result == 0) record_path('U', -1, path, 0);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int rename(const char *from, const char *to) {
  if (kind_of_path(from) != FILE_WATCHED && kind_of_path(to) != FILE_WATCHED) return real_rename(from, to);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!is_faulty('R')) {
    if (is_last_change()) die();
    result = real_rename(from, to);
    char both[8192];
    int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
    if (result == 0) record('R', -1, 0, both, length, 0);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int close(int fd) {
  if (!is_watched(fd)) {
    if (fd >= 0 && fd < MAX_FDS) kinds[fd] = FILE_OTHER;
    return real_close(fd);
  }
  pthread_mutex_lock(&lock);
  kinds[fd] = FILE_OTHER;
  record('C', fd, 0, NULL, 0, 0);
  int result = real_close(fd);
  pthread_mutex_unlock(&lock);
  return result;
}

/* In WAL mode, SQLite's locks are those of its -shm file. */
static int controlled(int fd, int command, void *argument) {
  int is_lock = command == F_SETLK && fd >= 0 && fd < MAX_FDS && kinds[fd] == FILE_SHARED_MEMORY;
  if (!is_lock) return real_fcntl(fd, command, argument);
  pthread_mutex_lock(&lock);
  int is_last = is_last_change();
  if (is_last && !kill_late) die();
  int result = real_fcntl(fd, command, argument);
  if (is_last) die();
  pthread_mutex_unlock(&lock);
  return result;
}

/* The third argument may be a number or a pointer: both are passed in the same register. */
#define FCNTL(name)                                \
  int name(int fd, int command, ...) {             \
    va_list arguments;                             \
    va_start(arguments, command);                  \
    void *argument = va_arg(arguments, void *);    \
    va_end(arguments);                             \
    return controlled(fd, command, argument);      \
  }
FCNTL(fcntl)
FCNTL(fcntl64)

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (is_watched(fd) && (protection & PROT_WRITE) && (flags & MAP_SHARED))
    give_up("a watched file is written through shared memory, which can't be recorded");
  return real_mmap(address, length, protection, flags, fd, offset);
}
