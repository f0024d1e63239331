/* LD_PRELOAD: the n-th call that changes something under a folder fails, or the process dies there.
 *
 * Set by shim_set(), or for processes that are started later by the variables SHIM_MODE, SHIM_NTH, SHIM_ERRNO and
 * SHIM_FOLDER. SHIM_CALLS names a file to which the calls are appended, one a line: "write /a/path".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, COUNT, FAIL_ONCE, FAIL_FROM, DIE_BEFORE, DIE_WITHIN };
enum fate { GO_ON, FAIL, HALF };

static volatile int mode = OFF, nth = 0, code = 0, count = 0, calls = -1;
static char folder[4096];

void shim_set(int new_mode, int n, int error, const char *path, const char *calls_file) {
  if (calls >= 0) close(calls);
  calls = *calls_file ? open(calls_file, O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
  snprintf(folder, sizeof folder, "%s", path);
  nth = n, code = error, count = 0, mode = new_mode;
}

static const char *variable(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value ? value : otherwise;
}

__attribute__((constructor)) static void from_the_environment(void) {
  if (getenv("SHIM_MODE"))
    shim_set(atoi(getenv("SHIM_MODE")), atoi(variable("SHIM_NTH", "0")), atoi(variable("SHIM_ERRNO", "0")),
             variable("SHIM_FOLDER", "/nowhere"), variable("SHIM_CALLS", ""));
}

static int below(const char *path) {
  size_t length = strlen(folder);
  return mode != OFF && path && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* The path of an open file in a static buffer; NULL if it is not below the folder. */
static const char *path_of(int fd) {
  static __thread char path[4096];
  char link[64];
  if (mode == OFF || fd == calls) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return NULL;
  path[length] = 0;
  return below(path) ? path : NULL;
}

/* A full disk still removes, renames and syncs. */
static int needs_no_space(const char *what) {
  return !strcmp(what, "unlink") || !strcmp(what, "rmdir") || !strncmp(what, "rename", 6) || strstr(what, "sync");
}

static enum fate fate_of(const char *what, const char *path) {
  int number = __sync_add_and_fetch(&count, 1);
  if (calls >= 0) dprintf(calls, "%s %s\n", what, path);
  if (mode == FAIL_FROM && number >= nth && !needs_no_space(what)) return FAIL;
  if (number != nth) return GO_ON;
  if (mode == DIE_BEFORE) kill(getpid(), SIGKILL);
  return mode == FAIL_ONCE ? FAIL : mode == DIE_WITHIN ? HALF : GO_ON;
}

#define REAL(name)                          \
  static __typeof__(name) *real;            \
  if (!real) real = dlsym(RTLD_NEXT, #name)

/* Fail or die, where the path is below the folder. */
#define MEET(what, path, failure)                       \
  do {                                                  \
    const char *met = (path);                           \
    if (met && below(met)) switch (fate_of(what, met)) { \
        case HALF: kill(getpid(), SIGKILL); break;      \
        case FAIL: errno = code; return failure;        \
        case GO_ON: break;                              \
      }                                                 \
  } while (0)

#define OF_TWO_PATHS(name)                      \
  int name(const char *from, const char *to) {  \
    REAL(name);                                 \
    MEET(#name, below(to) ? to : from, -1);     \
    return real(from, to);                      \
  }
OF_TWO_PATHS(rename)
OF_TWO_PATHS(link)
OF_TWO_PATHS(symlink)

#define OF_A_PATH(name)        \
  int name(const char *path) { \
    REAL(name);                \
    MEET(#name, path, -1);     \
    return real(path);         \
  }
OF_A_PATH(unlink)
OF_A_PATH(rmdir)

int mkdir(const char *path, mode_t rights) {
  REAL(mkdir);
  MEET("mkdir", path, -1);
  return real(path, rights);
}

#define OF_A_FILE(name)            \
  int name(int fd) {               \
    REAL(name);                    \
    MEET(#name, path_of(fd), -1);  \
    return real(fd);               \
  }
OF_A_FILE(fsync)
OF_A_FILE(fdatasync)

#define OF_A_LENGTH(name, type)      \
  int name(int fd, type length) {    \
    REAL(name);                      \
    MEET(#name, path_of(fd), -1);    \
    return real(fd, length);         \
  }
OF_A_LENGTH(ftruncate, off_t)
OF_A_LENGTH(ftruncate64, off64_t)

ssize_t write(int fd, const void *bytes, size_t size) {
  REAL(write);
  const char *path = path_of(fd);
  if (path) switch (fate_of("write", path)) {
      case HALF:
        if (real(fd, bytes, size / 2) >= 0) kill(getpid(), SIGKILL);
        break;
      case FAIL: errno = code; return -1;
      case GO_ON: break;
    }
  return real(fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
  REAL(writev);
  const char *path = path_of(fd);
  if (path) switch (fate_of("writev", path)) {
      case HALF:
        if (number && real(fd, parts, number / 2) >= 0) kill(getpid(), SIGKILL);
        break;
      case FAIL: errno = code; return -1;
      case GO_ON: break;
    }
  return real(fd, parts, number);
}

#define WRITES (O_WRONLY | O_RDWR | O_CREAT)
#define OPENS(name)                                        \
  int name(const char *path, int flags, ...) {             \
    REAL(name);                                            \
    va_list rest;                                          \
    va_start(rest, flags);                                 \
    mode_t rights = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                          \
    if (flags & WRITES) MEET(#name, path, -1);             \
    return real(path, flags, rights);                      \
  }
OPENS(open)
OPENS(open64)

#define FOPENS(name)                                       \
  FILE *name(const char *path, const char *how) {          \
    REAL(name);                                            \
    if (!strchr(how, 'r')) MEET(#name, path, NULL);        \
    return real(path, how);                                \
  }
FOPENS(fopen)
FOPENS(fopen64)
