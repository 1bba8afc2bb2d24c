#include "unsynced.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRAVE ".grave"
#define PATH_BYTES 1024

/* A sector as it was at the last sync of its file. */
struct sector {
    uint64_t number;
    uint8_t bytes[SECTOR_BYTES];
};

struct file {
    struct file *next;
    dev_t device;
    ino_t inode;
    int fd;             /* of our own: keeps the inode's number from being used again */
    off_t durable_size; /* what is beyond is new */
    bool doomed;        /* a sync of it has failed */
    struct sector **sectors;
    size_t count, cap; /* open addressing; cap is a power of two */
};

enum name_kind { NAME_CREATED, NAME_REMOVED, NAME_REMOVED_DIRECTORY, NAME_RENAMED };

struct name {
    enum name_kind kind;
    ino_t directories[2]; /* where it was changed */
    char path[PATH_BYTES], to[PATH_BYTES];
    uint64_t grave; /* what was there lies in .grave under this number; 0: nothing */
    mode_t mode;    /* REMOVED_DIRECTORY */
    uid_t owner;
    gid_t group;
};

struct unsynced {
    int root, grave;
    uint64_t graves;
    struct file *files;
    struct name **names;
    size_t name_count, name_cap;
};

struct unsynced *unsynced_new(int root)
{
    struct unsynced *unsynced = calloc(1, sizeof(*unsynced));

    if (!unsynced)
        return NULL;
    unsynced->root = root;
    unsynced->grave = -1;
    if (mkdirat(root, GRAVE, 0700) == 0 || errno == EEXIST)
        unsynced->grave = openat(root, GRAVE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (unsynced->grave >= 0)
        return unsynced;
    free(unsynced);
    return NULL;
}

/* --- Sectors --- */

static struct sector **sector_place(struct sector **sectors, size_t cap, uint64_t number)
{
    size_t at = (size_t)(number * 0x9e3779b97f4a7c15u >> 20) & (cap - 1);

    while (sectors[at] && sectors[at]->number != number)
        at = (at + 1) & (cap - 1);
    return &sectors[at];
}

static bool sectors_grow(struct file *file)
{
    size_t cap = file->cap ? file->cap * 2 : 64;
    struct sector **sectors = calloc(cap, sizeof(struct sector *));

    if (!sectors)
        return false;
    for (size_t i = 0; i < file->cap; i++)
        if (file->sectors[i])
            *sector_place(sectors, cap, file->sectors[i]->number) = file->sectors[i];
    free(file->sectors);
    file->sectors = sectors;
    file->cap = cap;
    return true;
}

static void sectors_forget(struct file *file)
{
    for (size_t i = 0; i < file->cap; i++)
        free(file->sectors[i]);
    free(file->sectors);
    file->sectors = NULL;
    file->count = file->cap = 0;
}

/* As it is now, unless it is kept already. */
static int sector_keep(struct file *file, uint64_t number)
{
    struct sector **place, *sector;

    if ((file->count + 1) * 2 > file->cap && !sectors_grow(file))
        return -ENOMEM;
    place = sector_place(file->sectors, file->cap, number);
    if (*place)
        return 0;
    sector = calloc(1, sizeof(*sector));
    if (!sector)
        return -ENOMEM;
    sector->number = number;
    if (pread(file->fd, sector->bytes, SECTOR_BYTES, (off_t)(number * SECTOR_BYTES)) < 0) {
        int error = errno;

        free(sector);
        return -error;
    }
    *place = sector;
    file->count++;
    return 0;
}

static uint64_t sector_above(off_t size)
{
    return ((uint64_t)size + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

static int sectors_keep(struct file *file, off_t from, off_t to)
{
    int error = 0;

    if (to > file->durable_size)
        to = file->durable_size;
    for (uint64_t n = (uint64_t)from / SECTOR_BYTES; from < to && n < sector_above(to) && !error;
         n++)
        error = sector_keep(file, n);
    return error;
}

/* --- Files --- */

static struct file **file_place(struct unsynced *unsynced, const struct stat *stat)
{
    struct file **place = &unsynced->files;

    while (*place && ((*place)->inode != stat->st_ino || (*place)->device != stat->st_dev))
        place = &(*place)->next;
    return place;
}

static struct file *file_of(struct unsynced *unsynced, int fd, int *ret_error)
{
    struct file **place, *file;
    struct stat stat;

    *ret_error = -ENOMEM;
    if (fstat(fd, &stat) != 0) {
        *ret_error = -errno;
        return NULL;
    }
    place = file_place(unsynced, &stat);
    if (*place)
        return *place;
    file = calloc(1, sizeof(*file));
    if (!file)
        return NULL;
    file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (file->fd < 0) {
        *ret_error = -errno;
        free(file);
        return NULL;
    }
    file->device = stat.st_dev;
    file->inode = stat.st_ino;
    file->durable_size = stat.st_size;
    *place = file;
    return file;
}

static void file_drop(struct file **place)
{
    struct file *file = *place;

    *place = file->next;
    sectors_forget(file);
    close(file->fd);
    free(file);
}

int unsynced_write(struct unsynced *unsynced, int fd, off_t offset, size_t len)
{
    int error;
    struct file *file = file_of(unsynced, fd, &error);

    return file ? sectors_keep(file, offset, offset + (off_t)len) : error;
}

int unsynced_resize(struct unsynced *unsynced, int fd, off_t size)
{
    int error;
    struct file *file = file_of(unsynced, fd, &error);

    return file ? sectors_keep(file, size, file->durable_size) : error;
}

void unsynced_sync(struct unsynced *unsynced, int fd, bool failed)
{
    struct file **place;
    struct stat stat;

    if (fstat(fd, &stat) != 0)
        return;
    place = file_place(unsynced, &stat);
    if (!*place)
        return;
    if (failed)
        (*place)->doomed = true;
    else if (!(*place)->doomed)
        file_drop(place);
}

/* --- Names --- */

static ino_t directory_of(struct unsynced *unsynced, const char *path)
{
    char parent[PATH_BYTES];
    struct stat stat;
    char *slash;

    snprintf(parent, sizeof(parent), "%s", path);
    slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    return fstatat(unsynced->root, slash ? parent : ".", &stat, 0) == 0 ? stat.st_ino : 0;
}

static struct name *name_new(struct unsynced *unsynced, enum name_kind kind, const char *path,
                             const char *to)
{
    struct name *name;

    if (unsynced->name_count == unsynced->name_cap) {
        size_t cap = unsynced->name_cap ? unsynced->name_cap * 2 : 64;
        struct name **grown = realloc(unsynced->names, cap * sizeof(*grown));

        if (!grown)
            return NULL;
        unsynced->names = grown;
        unsynced->name_cap = cap;
    }
    name = calloc(1, sizeof(*name));
    if (!name || strlen(path) >= PATH_BYTES || strlen(to) >= PATH_BYTES) {
        free(name);
        return NULL;
    }
    name->kind = kind;
    strcpy(name->path, path);
    strcpy(name->to, to);
    name->directories[0] = directory_of(unsynced, path);
    name->directories[1] = to[0] ? directory_of(unsynced, to) : 0;
    return name;
}

static void grave_text(uint64_t number, char text[32])
{
    snprintf(text, 32, "%llu", (unsigned long long)number);
}

/* Moves what bears that name out of sight. */
static int bury(struct unsynced *unsynced, const char *path, uint64_t *ret_number)
{
    char text[32];

    grave_text(++unsynced->graves, text);
    if (renameat(unsynced->root, path, unsynced->grave, text) != 0)
        return -errno;
    *ret_number = unsynced->graves;
    return 0;
}

static int unbury(struct unsynced *unsynced, uint64_t number, const char *path)
{
    char text[32];

    grave_text(number, text);
    return renameat(unsynced->grave, text, unsynced->root, path) == 0 ? 0 : -errno;
}

int unsynced_created(struct unsynced *unsynced, const char *path)
{
    struct name *name = name_new(unsynced, NAME_CREATED, path, "");

    if (!name)
        return -ENOMEM;
    unsynced->names[unsynced->name_count++] = name;
    return 0;
}

static int remove_directory(struct unsynced *unsynced, struct name *name)
{
    struct stat stat;

    if (fstatat(unsynced->root, name->path, &stat, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    name->mode = stat.st_mode & 07777;
    name->owner = stat.st_uid;
    name->group = stat.st_gid;
    return unlinkat(unsynced->root, name->path, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

int unsynced_remove(struct unsynced *unsynced, const char *path, bool directory)
{
    struct name *name =
        name_new(unsynced, directory ? NAME_REMOVED_DIRECTORY : NAME_REMOVED, path, "");
    int error;

    if (!name)
        return -ENOMEM;
    error = directory ? remove_directory(unsynced, name) : bury(unsynced, path, &name->grave);
    if (error)
        free(name);
    else
        unsynced->names[unsynced->name_count++] = name;
    return error;
}

int unsynced_rename(struct unsynced *unsynced, const char *from, const char *to)
{
    struct name *name = name_new(unsynced, NAME_RENAMED, from, to);
    int error;

    if (!name)
        return -ENOMEM;
    error = faccessat(unsynced->root, from, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
    if (!error && faccessat(unsynced->root, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        error = bury(unsynced, to, &name->grave);
    if (!error && renameat(unsynced->root, from, unsynced->root, to) != 0) {
        error = -errno;
        if (name->grave)
            (void)unbury(unsynced, name->grave, to);
    }
    if (error)
        free(name);
    else
        unsynced->names[unsynced->name_count++] = name;
    return error;
}

/* It has happened for good. */
static void name_keep(struct unsynced *unsynced, struct name *name)
{
    char text[32];

    if (name->grave) {
        grave_text(name->grave, text);
        if (unlinkat(unsynced->grave, text, 0) != 0)
            (void)unlinkat(unsynced->grave, text, AT_REMOVEDIR);
    }
    free(name);
}

/* It has never happened. */
static int name_undo(struct unsynced *unsynced, const struct name *name)
{
    int error = 0;

    switch (name->kind) {
    case NAME_CREATED:
        if (unlinkat(unsynced->root, name->path, 0) != 0 &&
            unlinkat(unsynced->root, name->path, AT_REMOVEDIR) != 0)
            error = -errno;
        break;
    case NAME_REMOVED_DIRECTORY:
        if (mkdirat(unsynced->root, name->path, name->mode) != 0 ||
            fchownat(unsynced->root, name->path, name->owner, name->group, 0) != 0)
            error = -errno;
        break;
    case NAME_RENAMED:
        if (renameat(unsynced->root, name->to, unsynced->root, name->path) != 0)
            error = -errno;
        else if (name->grave)
            error = unbury(unsynced, name->grave, name->to);
        break;
    case NAME_REMOVED:
        error = unbury(unsynced, name->grave, name->path);
        break;
    }
    return error;
}

static void names_keep(struct unsynced *unsynced, size_t count)
{
    for (size_t i = 0; i < count; i++)
        name_keep(unsynced, unsynced->names[i]);
    unsynced->name_count -= count;
    if (unsynced->name_count > 0)
        memmove(unsynced->names, unsynced->names + count,
                unsynced->name_count * sizeof(*unsynced->names));
}

void unsynced_sync_names(struct unsynced *unsynced, int directory)
{
    size_t last = unsynced->name_count;
    struct stat stat;

    if (fstat(directory, &stat) != 0)
        return;
    while (last > 0 && unsynced->names[last - 1]->directories[0] != stat.st_ino &&
           unsynced->names[last - 1]->directories[1] != stat.st_ino)
        last--;
    if (last > 0)
        names_keep(unsynced, last);
}

/* --- The power cut --- */

/* How much survives of a file, or of the names. */
enum luck { LUCK_ALL, LUCK_NONE, LUCK_SOME };

static enum luck luck_draw(struct as_rng *rng)
{
    uint64_t n = as_rng_below(rng, 4);

    return n == 0 ? LUCK_ALL : n == 1 ? LUCK_NONE : LUCK_SOME;
}

static bool is_lost(enum luck luck, struct as_rng *rng)
{
    return luck == LUCK_NONE || (luck == LUCK_SOME && as_rng_below(rng, 2) == 0);
}

static int by_number(const void *a, const void *b)
{
    const struct sector *x = *(struct sector *const *)a, *y = *(struct sector *const *)b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static int put(int fd, const uint8_t *bytes, uint64_t number)
{
    ssize_t n = pwrite(fd, bytes, SECTOR_BYTES, (off_t)(number * SECTOR_BYTES));

    return n == (ssize_t)SECTOR_BYTES ? 0 : n < 0 ? -errno : -EIO;
}

/* Sectors that were durable once. `cut_back`: those beyond this are all put back, because the end of the file is. */
static int old_sectors_cut(struct file *file, enum luck luck, off_t put_back_from,
                           struct as_rng *rng, struct unsynced_counts *counts)
{
    size_t count = 0;
    int error = 0;

    /* In order of place, so that a seed draws the same whatever the order of the table. */
    for (size_t i = 0; i < file->cap; i++)
        if (file->sectors[i])
            file->sectors[count++] = file->sectors[i];
    if (count > 0)
        qsort(file->sectors, count, sizeof(struct sector *), by_number);
    for (size_t i = 0; i < count && !error; i++) {
        const struct sector *sector = file->sectors[i];
        bool back = sector->number >= sector_above(put_back_from);

        counts->sectors++;
        if (!is_lost(luck, rng) && !back)
            continue;
        counts->sectors_lost++;
        error = put(file->fd, sector->bytes, sector->number);
    }
    for (size_t i = 0; i < count; i++)
        free(file->sectors[i]);
    free(file->sectors);
    file->sectors = NULL;
    file->count = file->cap = 0;
    return error;
}

/* What was written beyond the durable end. */
static int new_sectors_cut(struct file *file, enum luck luck, off_t size, struct as_rng *rng,
                           struct unsynced_counts *counts)
{
    static const uint8_t zeros[SECTOR_BYTES];
    int error = 0;

    for (uint64_t n = sector_above(file->durable_size); n < sector_above(size) && !error; n++) {
        counts->sectors++;
        if (!is_lost(luck, rng))
            continue;
        counts->sectors_lost++;
        error = put(file->fd, zeros, n);
    }
    return error;
}

static int file_cut(struct file *file, struct as_rng *rng, struct unsynced_counts *counts)
{
    enum luck luck = luck_draw(rng);
    bool size_lost = is_lost(luck, rng);
    struct stat stat;
    off_t size;
    int error;

    if (fstat(file->fd, &stat) != 0)
        return -errno;
    if (stat.st_nlink == 0)
        return 0;
    counts->files++;
    size = size_lost ? file->durable_size : stat.st_size;
    error = new_sectors_cut(file, luck, stat.st_size, rng, counts);
    /* A shortening that has not happened: what it cut off is there again, whole. */
    if (!error)
        error = old_sectors_cut(file, luck, size > stat.st_size ? stat.st_size : INT64_MAX - 511,
                                rng, counts);
    if (!error && ftruncate(file->fd, size) != 0)
        error = -errno;
    return error;
}

static int names_cut(struct unsynced *unsynced, struct as_rng *rng, struct unsynced_counts *counts)
{
    enum luck luck = luck_draw(rng);
    size_t kept = luck == LUCK_ALL    ? unsynced->name_count
                  : luck == LUCK_NONE ? 0
                                      : (size_t)as_rng_below(rng, unsynced->name_count + 1);
    int error = 0;

    counts->names = unsynced->name_count;
    counts->names_lost = unsynced->name_count - kept;
    while (unsynced->name_count > kept && !error) {
        struct name *name = unsynced->names[--unsynced->name_count];

        error = name_undo(unsynced, name);
        free(name);
    }
    names_keep(unsynced, unsynced->name_count);
    return error;
}

int unsynced_cut(struct unsynced *unsynced, uint64_t seed, struct unsynced_counts *ret_counts)
{
    struct as_rng rng = {seed};
    int error = 0;

    *ret_counts = (struct unsynced_counts){0};
    while (unsynced->files) {
        int now = file_cut(unsynced->files, &rng, ret_counts);

        error = error ? error : now;
        file_drop(&unsynced->files);
    }
    return error ? error : names_cut(unsynced, &rng, ret_counts);
}

void unsynced_settle(struct unsynced *unsynced)
{
    while (unsynced->files)
        file_drop(&unsynced->files);
    names_keep(unsynced, unsynced->name_count);
}

void unsynced_free(struct unsynced *unsynced)
{
    if (!unsynced)
        return;
    unsynced_settle(unsynced);
    free(unsynced->names);
    close(unsynced->grave);
    free(unsynced);
}
