/* Stands between a process and its files, for tests (LD_PRELOAD, Linux). Counts what the process does to files below INTERPOSE_DIR
 * - write, truncate, sync, rename, unlink, mkdir - and at the INTERPOSE_AT-th of these, counted from 1, does as INTERPOSE_HOW says:
 *
 *   kill   SIGKILL before it          tear   half of the write, then SIGKILL
 *   fail   EIO, this once             short  half of the write, and says so
 *   full   ENOSPC, from here on for as many calls as INTERPOSE_CALLS says
 *
 * INTERPOSE_TRACE names a file for all that is done, and for what is written to standard output:
 *   kind[1] offset[8] path length[4] data length[4] path data        (integers in the order of the machine)
 * At the end the number of calls goes to standard error: "interposed N".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char *dir, *how;
static long at, calls, counted;
static int trace = -1;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t), (*real_fsync)(int), (*real_fdatasync)(int), (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *), (*real_mkdir)(const char *, mode_t);

__attribute__((constructor)) static void begin(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_rename = dlsym(RTLD_NEXT, "rename");
  real_mkdir = dlsym(RTLD_NEXT, "mkdir");
  dir = getenv("INTERPOSE_DIR");
  how = getenv("INTERPOSE_HOW");
  at = getenv("INTERPOSE_AT") ? atol(getenv("INTERPOSE_AT")) : 0;
  calls = getenv("INTERPOSE_CALLS") ? atol(getenv("INTERPOSE_CALLS")) : 1;
  const char *path = getenv("INTERPOSE_TRACE");
  if (path) trace = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

__attribute__((destructor)) static void end(void) {
  if (dir) fprintf(stderr, "interposed %ld\n", counted);
}

static int ours(const char *path) { return dir && strncmp(path, dir, strlen(dir)) == 0; }

/* The path of a descriptor, if it is below the directory. */
static const char *path_of(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = dir ? readlink(link, path, size - 1) : -1;
  if (length < 0) return NULL;
  path[length] = 0;
  return ours(path) ? path : NULL;
}

static void note(char kind, const char *path, uint64_t offset, const void *data, size_t length) {
  if (trace < 0) return;
  uint32_t lengths[2] = {strlen(path), length};
  real_write(trace, &kind, 1);
  real_write(trace, &offset, sizeof offset);
  real_write(trace, lengths, sizeof lengths);
  real_write(trace, path, lengths[0]);
  real_write(trace, data, length);
}

/* What is to be done with this call: nothing, or 's', 't' for a half, or 'f' with errno. */
static char verdict(void) {
  counted++;
  if (!how || !at || counted < at) return 0;
  int here = counted == at;
  if (strcmp(how, "full") == 0) {
    if (counted >= at + calls) return 0;
    errno = ENOSPC;
    return 'f';
  }
  if (!here) return 0;
  if (strcmp(how, "kill") == 0) raise(SIGKILL);
  if (strcmp(how, "tear") == 0) return 't';
  if (strcmp(how, "short") == 0) return 's';
  errno = EIO;
  return 'f';
}

static ssize_t put(int fd, const void *data, size_t size, off_t offset, int positioned) {
  char path[4096];
  if (fd == 1) note('m', "", 0, data, size);
  if (fd > 2 && fd != trace && path_of(fd, path, sizeof path)) {
    if (!positioned) offset = lseek(fd, 0, SEEK_CUR);
    char what = verdict();
    if (what == 'f') return -1;
    if ((what == 't' || what == 's') && size > 1) size /= 2;
    note('w', path, offset, data, size);
    ssize_t done = positioned ? real_pwrite(fd, data, size, offset) : real_write(fd, data, size);
    if (what == 't') raise(SIGKILL);
    return done;
  }
  return positioned ? real_pwrite(fd, data, size, offset) : real_write(fd, data, size);
}

/* Calls without a size: a half is none. */
#define CALL(kind, path, offset, data, length, call) \
  do {                                               \
    char what = verdict();                           \
    if (what == 't') raise(SIGKILL);                 \
    if (what == 'f') return -1;                      \
    note(kind, path, offset, data, length);          \
    return call;                                     \
  } while (0)

ssize_t write(int fd, const void *data, size_t size) { return put(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return put(fd, data, size, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return put(fd, data, size, offset, 1); }

int ftruncate(int fd, off_t length) {
  char path[4096];
  if (path_of(fd, path, sizeof path)) CALL('t', path, length, "", 0, real_ftruncate(fd, length));
  return real_ftruncate(fd, length);
}
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

int fsync(int fd) {
  char path[4096];
  /* What is synced can't be lost here; the trace says what would be. */
  if (path_of(fd, path, sizeof path)) CALL('s', path, 0, "", 0, 0);
  return real_fsync(fd);
}
int fdatasync(int fd) { return fsync(fd); }

int unlink(const char *path) {
  if (ours(path)) CALL('u', path, 0, "", 0, real_unlink(path));
  return real_unlink(path);
}

int rename(const char *from, const char *to) {
  if (ours(from)) CALL('r', from, 0, to, strlen(to), real_rename(from, to));
  return real_rename(from, to);
}

int mkdir(const char *path, mode_t mode) {
  /* Not in the trace: there directories are where files are. */
  char what = ours(path) ? verdict() : 0;
  if (what == 't') raise(SIGKILL);
  return what == 'f' ? -1 : real_mkdir(path, mode);
}
