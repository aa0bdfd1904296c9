/* Notes, for each file, how many of its bytes a successful sync has covered: what a power cut leaves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int noted(const char *name, int fd) {
    struct stat before;
    int known = fstat(fd, &before) == 0;
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = sync(fd);
    const char *folder = getenv("SYNCED_FOLDER");
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
