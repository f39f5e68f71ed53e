/* Counts, fails, kills at and records what a process changes on disk below one directory.
 *
 * Preloaded (LD_PRELOAD) into a Python process, which drives it through the torture_* functions (syscalls.py). Every
 * call goes to the kernel directly, so that nothing has to be looked up. Which file a descriptor means is asked of
 * /proc, so that duplicates, renames and forks need no bookkeeping. What is written through mmap is not seen.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __LP64__
#error "offsets are passed in one register"
#endif

enum { OFF, KILL_BEFORE, KILL_AFTER, FAIL, FAIL_ON, TORN, SHORT };

/* One letter for each kind of operation, the same as in the recording. */
enum {
    CREATE = 'c', WRITE = 'w', GROW = 'g', SHRINK = 't', SYNC = 's', DATASYNC = 'd', SYNC_DIRECTORY = 'D',
    RENAME = 'r', UNLINK = 'u', MKDIR = 'k', RMDIR = 'x', MARK = 'm'
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static char kinds[32];
static long count, nth;
static int action, error_number, failing;
static char struck[PATH_MAX + 16];
static int recording = -1;

static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void prepare(void) { pthread_atfork(before_fork, after_fork, after_fork); }

/* Paths */

static int below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int path_of(int fd, char *out) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = 0;
    return length > 0 && below(out);
}

/* The directory is resolved, the last name is not. */
static int resolve(int at, const char *path, char *out) {
    char joined[2 * PATH_MAX], folder[PATH_MAX];
    if (!root_length || !path || strlen(path) >= PATH_MAX) return 0;
    if (path[0] == '/' || at == AT_FDCWD) {
        snprintf(joined, sizeof joined, "%s", path);
    } else {
        char start[PATH_MAX];
        path_of(at, start);
        snprintf(joined, sizeof joined, "%s/%s", start, path);
    }
    size_t end = strlen(joined);
    while (end > 1 && joined[end - 1] == '/') joined[--end] = 0;
    char *slash = strrchr(joined, '/');
    const char *name = slash ? slash + 1 : joined;
    char base[NAME_MAX + 2];
    if (strlen(name) > NAME_MAX) return 0;
    strcpy(base, name);
    if (slash) slash[slash == joined] = 0;
    if (!realpath(slash ? joined : ".", folder)) return 0;
    if (strlen(folder) + strlen(base) + 2 > PATH_MAX) return 0;
    strcpy(out, folder);
    if (strcmp(folder, "/")) strcat(out, "/");
    strcat(out, base);
    return below(out);
}

/* Recording */

struct __attribute__((packed)) record {
    char kind;
    uint64_t inode;
    int64_t offset;
    uint32_t path, target;
    uint64_t data;
};

static void put_all(const char *data, size_t length) {
    while (length) {
        long done = syscall(SYS_write, recording, data, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort();
        data += done;
        length -= (size_t)done;
    }
}

static void record(char kind, uint64_t inode, int64_t offset, const char *path, const char *target, const void *data,
                   size_t length) {
    if (recording < 0) return;
    int kept = errno;
    struct record head = {kind, inode, offset, (uint32_t)strlen(path), (uint32_t)strlen(target), length};
    put_all((const char *)&head, sizeof head);
    put_all(path, head.path);
    put_all(target, head.target);
    put_all(data, length);
    errno = kept;
}

static uint64_t inode_at(const char *path) {
    struct stat status;
    return fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) ? 0 : status.st_ino;
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) ? 0 : status.st_ino;
}

/* What happens to an operation. The mutex is held from `arrives` to `leaves`. */

enum { GO, REFUSED, HALF };

static void die(void) {
    for (;;) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static int takes_space(char kind) { return kind == CREATE || kind == WRITE || kind == GROW || kind == MKDIR; }

static int affected(char kind) {
    if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) return takes_space(kind);
    return 1;
}

static int refuse(char kind, const char *path) {
    if (!struck[0]) snprintf(struck, sizeof struck, "%c %s", kind, path);
    errno = error_number;
    return REFUSED;
}

static int arrives(char kind, const char *path) {
    pthread_mutex_lock(&mutex);
    if (kinds[0] && !strchr(kinds, kind)) return failing && affected(kind) ? refuse(kind, path) : GO;
    count++;
    if (failing) return affected(kind) ? refuse(kind, path) : GO;
    if (action == OFF || count != nth) return GO;
    snprintf(struck, sizeof struck, "%c %s", kind, path);
    switch (action) {
    case KILL_BEFORE:
        die();
        break;
    case TORN:
        if (kind != WRITE) die();
        return HALF;
    case SHORT:
        failing = 1;
        return kind == WRITE ? HALF : refuse(kind, path);
    case FAIL_ON:
        failing = 1;
        return refuse(kind, path);
    case FAIL:
        return refuse(kind, path);
    }
    return GO;
}

static void leaves(void) {
    if ((action == KILL_AFTER || action == TORN) && count == nth && struck[0]) die();
    int kept = errno;
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

/* Driven from Python */

void torture_watch(const char *path) {
    pthread_mutex_lock(&mutex);
    root_length = 0;
    if (path && path[0] && realpath(path, root)) root_length = strlen(root);
    count = 0;
    pthread_mutex_unlock(&mutex);
}

long torture_count(void) {
    pthread_mutex_lock(&mutex);
    long result = count;
    pthread_mutex_unlock(&mutex);
    return result;
}

void torture_arm(long at, int what, int error) {
    pthread_mutex_lock(&mutex);
    nth = at;
    action = what;
    error_number = error;
    count = failing = 0;
    struck[0] = 0;
    pthread_mutex_unlock(&mutex);
}

/* Only these kinds of operation count; "" for all. */
void torture_kinds(const char *letters) {
    pthread_mutex_lock(&mutex);
    snprintf(kinds, sizeof kinds, "%s", letters);
    pthread_mutex_unlock(&mutex);
}

/* Kind and path of the first operation that was failed or killed at since `torture_arm`, "". */
void torture_struck(char *out, size_t size) {
    pthread_mutex_lock(&mutex);
    snprintf(out, size, "%s", struck);
    pthread_mutex_unlock(&mutex);
}

int torture_record(const char *file) {
    pthread_mutex_lock(&mutex);
    if (recording >= 0) syscall(SYS_close, recording);
    recording = -1;
    if (file && file[0]) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        /* Out of the way of descriptors that a child closes from 3 upwards. */
        recording = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 500);
        if (fd >= 0) syscall(SYS_close, fd);
    }
    int failed = file && file[0] && recording < 0;
    pthread_mutex_unlock(&mutex);
    return failed ? -1 : 0;
}

void torture_mark(const char *label) {
    pthread_mutex_lock(&mutex);
    record(MARK, 0, 0, label, "", "", 0);
    pthread_mutex_unlock(&mutex);
}

/* Opening */

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    struct stat status;
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !resolve(at, path, full))
        return (int)syscall(SYS_openat, at, path, flags, mode);
    int there = !fstatat(AT_FDCWD, full, &status, 0);
    if (there && (!(flags & O_TRUNC) || !S_ISREG(status.st_mode) || !status.st_size))
        return (int)syscall(SYS_openat, at, path, flags, mode);
    if (!there && !(flags & O_CREAT)) return (int)syscall(SYS_openat, at, path, flags, mode);
    char kind = there ? SHRINK : CREATE;
    int fd = -1;
    if (arrives(kind, full) != REFUSED) {
        fd = (int)syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0) record(kind, inode_of(fd), 0, full, "", "", 0);
    }
    leaves();
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return open_at(AT_FDCWD, path, flags, mode);                                                                   \
    }
#define OPEN_AT(name)                                                                                                  \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return open_at(at, path, flags, mode);                                                                         \
    }
OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)

int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Writing */

#define ELSEWHERE(fd, full) (!root_length || !path_of(fd, full))

static ssize_t write_at(int fd, const void *data, size_t length, off_t at, int seeks, const char *full) {
    ssize_t done = -1;
    int fate = arrives(WRITE, full);
    if (fate != REFUSED) {
        struct stat status;
        int append = fcntl(fd, F_GETFL) & O_APPEND;
        off_t start = append && !fstat(fd, &status) ? status.st_size : seeks ? lseek(fd, 0, SEEK_CUR) : at;
        if (fate == HALF && length > 1) length /= 2;
        done = seeks ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, at);
        if (done > 0) record(WRITE, inode_of(fd), start, full, "", data, (size_t)done);
    }
    leaves();
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    char full[PATH_MAX];
    if (ELSEWHERE(fd, full)) return syscall(SYS_write, fd, data, length);
    return write_at(fd, data, length, 0, 1, full);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    char full[PATH_MAX];
    if (ELSEWHERE(fd, full)) return syscall(SYS_pwrite64, fd, data, length, at);
    return write_at(fd, data, length, at, 0, full);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return pwrite(fd, data, length, at); }

ssize_t writev(int fd, const struct iovec *parts, int number) {
    char full[PATH_MAX];
    if (ELSEWHERE(fd, full)) return syscall(SYS_writev, fd, parts, number);
    size_t length = 0;
    for (int i = 0; i < number; i++) length += parts[i].iov_len;
    char *whole = malloc(length + 1), *at = whole;
    if (!whole) abort();
    for (int i = 0; i < number; at += parts[i++].iov_len) memcpy(at, parts[i].iov_base, parts[i].iov_len);
    ssize_t done = write_at(fd, whole, length, 0, 1, full);
    free(whole);
    return done;
}

int ftruncate(int fd, off_t size) {
    char full[PATH_MAX];
    struct stat status;
    if (ELSEWHERE(fd, full) || fstat(fd, &status)) return (int)syscall(SYS_ftruncate, fd, size);
    char kind = size > status.st_size ? GROW : SHRINK;
    int result = -1;
    if (arrives(kind, full) != REFUSED) {
        result = (int)syscall(SYS_ftruncate, fd, size);
        if (!result) record(kind, status.st_ino, size, full, "", "", 0);
    }
    leaves();
    return result;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

/* Syncing */

static int sync_fd(int fd, long number, char kind) {
    char full[PATH_MAX];
    struct stat status;
    if (ELSEWHERE(fd, full) || fstat(fd, &status)) return (int)syscall(number, fd);
    if (S_ISDIR(status.st_mode)) kind = SYNC_DIRECTORY;
    int result = -1;
    if (arrives(kind, full) != REFUSED) {
        result = (int)syscall(number, fd);
        if (!result) record(kind, status.st_ino, 0, full, "", "", 0);
    }
    leaves();
    return result;
}

int fsync(int fd) { return sync_fd(fd, SYS_fsync, SYNC); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync, DATASYNC); }

/* Names */

int renameat2(int at, const char *path, int target_at, const char *target, unsigned flags) {
    char full[PATH_MAX], there[PATH_MAX];
    int from = resolve(at, path, full), to = resolve(target_at, target, there);
    if (!from && !to) return (int)syscall(SYS_renameat2, at, path, target_at, target, flags);
    int result = -1;
    if (arrives(RENAME, full) != REFUSED) {
        uint64_t inode = inode_at(full);
        result = (int)syscall(SYS_renameat2, at, path, target_at, target, flags);
        if (!result) record(RENAME, inode, 0, full, there, "", 0);
    }
    leaves();
    return result;
}

int renameat(int at, const char *path, int target_at, const char *target) {
    return renameat2(at, path, target_at, target, 0);
}
int rename(const char *path, const char *target) { return renameat2(AT_FDCWD, path, AT_FDCWD, target, 0); }

int unlinkat(int at, const char *path, int flags) {
    char full[PATH_MAX];
    if (!resolve(at, path, full)) return (int)syscall(SYS_unlinkat, at, path, flags);
    char kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    uint64_t inode = inode_at(full);
    if (!inode) return (int)syscall(SYS_unlinkat, at, path, flags);
    int result = -1;
    if (arrives(kind, full) != REFUSED) {
        result = (int)syscall(SYS_unlinkat, at, path, flags);
        if (!result) record(kind, inode, 0, full, "", "", 0);
    }
    leaves();
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int result = unlink(path);
    return result && (errno == EISDIR || errno == EPERM) ? rmdir(path) : result;
}

int mkdirat(int at, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!resolve(at, path, full) || inode_at(full)) return (int)syscall(SYS_mkdirat, at, path, mode);
    int result = -1;
    if (arrives(MKDIR, full) != REFUSED) {
        result = (int)syscall(SYS_mkdirat, at, path, mode);
        if (!result) record(MKDIR, inode_at(full), 0, full, "", "", 0);
    }
    leaves();
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
