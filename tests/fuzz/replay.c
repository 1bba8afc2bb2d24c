/*
 * Runs a fuzz target over files and over the files of directories, once each: for builds without
 * libFuzzer. No input at all is a failure, for then the test would prove nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static size_t inputs;

_Noreturn static void fail(const char *path)
{
    perror(path);
    exit(1);
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    long size;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
        fail(path);
    rewind(file);
    data = malloc(size ? (size_t)size
                       : 1); /* of exactly this size: a sanitizer sees a read behind it */
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
        fail(path);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    inputs++;
}

static void run_directory(const char *path, DIR *directory)
{
    struct dirent *entry;
    char file[PATH_MAX];

    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) >= (int)sizeof(file))
            fail(path);
        run_file(file);
    }
    closedir(directory);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);

        if (directory)
            run_directory(argv[i], directory);
        else if (errno == ENOTDIR)
            run_file(argv[i]);
        else
            fail(argv[i]);
    }
    printf("%zu inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
