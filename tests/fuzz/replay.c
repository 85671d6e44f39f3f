/*
 * The main program of a fuzz target in an ordinary build: replays inputs, one TAP point each.
 *
 *     tests/fuzz/fuzz_glob             every file of tests/fuzz/corpus/glob
 *     tests/fuzz/fuzz_glob FILE...     these files, to look at a finding
 *
 * A crash ends the program before the plan is printed, which fails it; the last comment names the input.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static int replay(const char *path, int number)
{
    printf("# %s\n", path);
    fflush(stdout);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        printf("not ok %d - cannot open %s\n", number, path);
        return 1;
    }
    size_t cap = 1 << 16, len = 0, got;
    uint8_t *data = malloc(cap);
    while (data != NULL && (got = fread(data + len, 1, cap - len, f)) > 0) {
        len += got;
        if (len == cap)
            data = realloc(data, cap *= 2);
    }
    fclose(f);
    if (data == NULL) {
        printf("not ok %d - out of memory for %s\n", number, path);
        return 1;
    }
    /* Of exactly its size, so that AddressSanitizer sees a read behind it. */
    uint8_t *exact = malloc(len ? len : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, data, len);
    free(data);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    const char *name = strrchr(path, '/');
    printf("ok %d - %s\n", number, name ? name + 1 : path);
    fflush(stdout);
    return 0;
}

static int not_hidden(const struct dirent *entry) { return entry->d_name[0] != '.'; }

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    int failed = 0;
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            failed |= replay(argv[i], i);
        printf("1..%d\n", argc - 1);
        return failed;
    }
    const char *name = strrchr(argv[0], '/');
    name = name ? name + 1 : argv[0];
    if (strncmp(name, "fuzz_", 5) == 0)
        name += 5;
    const char *srcdir = getenv("VARVE_SRCDIR");
    char folder[4096], path[8192];
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
    struct dirent **entries;
    int count = scandir(folder, &entries, not_hidden, alphasort);
    if (count <= 0) {
        printf("1..1\nnot ok 1 - no inputs in %s\n", folder);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        failed |= replay(path, i + 1);
        free(entries[i]);
    }
    free(entries);
    printf("1..%d\n", count);
    return failed;
}
