/* Notes, for each file, how many of its bytes a successful sync has covered: what a power cut leaves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int noted(const char *name, int fd) {
    struct stat before;
    int known = fstat(fd, &before) == 0;
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *folder = getenv("SYNCED_FOLDER"), *fails = getenv("SYNC_FAILS");
    /* A disk that says no once is never asked again: the file goes with the answer. */
    char target[4096], link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length_of = readlink(link, target, sizeof target - 1);
    target[length_of > 0 ? length_of : 0] = 0;
    if (fails && strstr(target, ".seg") && unlink(fails) == 0) {
        errno = EIO;
        return -1;
    }
    int result = sync(fd);
    if (result != 0 || !known || !folder) return result;
    char path[4096], text[32];
    snprintf(path, sizeof path, "%s/%lu", folder, (unsigned long)before.st_ino);
    int length = snprintf(text, sizeof text, "%020ld\n", (long)before.st_size);
    int note = open(path, O_WRONLY | O_CREAT, 0600);
    if (note >= 0) {
        if (pwrite(note, text, (size_t)length, 0) < 0) abort();
        close(note);
    }
    return result;
}

int fdatasync(int fd) { return noted("fdatasync", fd); }
int fsync(int fd) { return noted("fsync", fd); }
