/* Ends its process, as kill -9 does, at one of the steps by which it changes something outside of itself:
 * before, within or after what it writes to the files of a folder, to the network and to other processes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The process dies only while there is this file: at the first step of the name that it holds, or, if it holds
 * none, at the first step that is not in the list of those where a process died before. */
static const char *knife;
static const char *died, *steps;
static char folder[4096];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    knife = getenv("STEPS_KNIFE"), died = getenv("STEPS_DIED"), steps = getenv("STEPS_NOTES");
    const char *own = getenv("STEPS_FOLDER");
    if (!knife || !died || !steps || !own) abort();
    snprintf(folder, sizeof folder, "%s/", own);
    /* The processes that it starts have steps of their own, which do not count. */
    unsetenv("LD_PRELOAD");
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Reads a file of a few lines; NULL if there is none. */
static const char *text_of(const char *path) {
    static char text[1 << 16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    return text;
}

static int count(const char *path, const char *line) {
    int times = 0;
    size_t length = strlen(line);
    for (const char *at = text_of(path); at && *at; at += strcspn(at, "\n"), at += *at == '\n')
        times += strncmp(at, line, length) == 0 && at[length] == '\n';
    return times;
}

static void note(const char *path, const char *line) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    syscall(SYS_write, fd, line, strlen(line));
    syscall(SYS_write, fd, "\n", 1);
    close(fd);
}

/* Tells whether this step is the last one. Then the lock is kept, and no other thread makes one after it. */
static int is_last(const char *when, const char *call, const char *what) {
    if (!what) return 0;
    pthread_mutex_lock(&lock);
    const char *wanted = text_of(knife);
    int last = 0;
    if (wanted) {
        char name[512], place[544];
        snprintf(name, sizeof name, "%s %s %s", when, call, what);
        int named = *wanted != 0, is_it = strcmp(wanted, name) == 0;
        snprintf(place, sizeof place, "%s, %d before it", name, count(steps, name));
        note(steps, name);
        last = named ? is_it : count(died, place) == 0;
        if (last && !named) note(died, place);
    }
    if (!last) pthread_mutex_unlock(&lock);
    return last;
}

/* What a path leads to: a file of the folder, or the folder that it is in; else NULL. */
static const char *own(const char *path, char *name, size_t size) {
    size_t length = strlen(folder);
    if (length == 0 || strncmp(path, folder, length) != 0) return NULL;
    snprintf(name, size, "%s", path + length);
    name[strcspn(name, "/")] = 0;
    return name;
}

/* What a descriptor leads to, or NULL if that is nothing outside of the process. */
static const char *target(int fd, char *name, size_t size) {
    if (!*folder || fd <= 2) return NULL;
    int domain = 0;
    socklen_t length = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0)
        return domain == AF_INET ? "relay" : NULL;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t read = readlink(link, path, sizeof path - 1);
    path[read > 0 ? read : 0] = 0;
    return strncmp(path, "pipe:", 5) == 0 ? "agent" : own(path, name, size);
}

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define STEPS(type, name, what, within, ...)            \
    {                                                   \
        char named[256];                                \
        const char *is = what;                          \
        if (is_last("before", #name, is)) end();        \
        within;                                         \
        type result = NEXT(name)(__VA_ARGS__);          \
        if (is_last("after", #name, is)) end();         \
        return result;                                  \
    }
#define AT(fd) target(fd, named, sizeof named)
#define HALF(name, ...) if (is_last("within", #name, is)) { NEXT(name)(__VA_ARGS__); end(); }

ssize_t write(int fd, const void *data, size_t size)
    STEPS(ssize_t, write, AT(fd), HALF(write, fd, data, size / 2), fd, data, size)
ssize_t send(int fd, const void *data, size_t size, int flags)
    STEPS(ssize_t, send, AT(fd), HALF(send, fd, data, size / 2, flags), fd, data, size, flags)
ssize_t writev(int fd, const struct iovec *parts, int count) STEPS(ssize_t, writev, AT(fd), , fd, parts, count)
ssize_t sendmsg(int fd, const struct msghdr *m, int flags) STEPS(ssize_t, sendmsg, AT(fd), , fd, m, flags)
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t to) STEPS(ssize_t, pwrite64, AT(fd), , fd, data, size, to)
int ftruncate64(int fd, off64_t size) STEPS(int, ftruncate64, AT(fd), , fd, size)
int fsync(int fd) STEPS(int, fsync, AT(fd), , fd)
int fdatasync(int fd) STEPS(int, fdatasync, AT(fd), , fd)
int rename(const char *from, const char *to) STEPS(int, rename, own(to, named, sizeof named), , from, to)
int unlink(const char *path) STEPS(int, unlink, own(path, named, sizeof named), , path)
