// Operations whose instructions are counted: LOOP N makes N of them and nothing else.
#include "common.h"
#include <string.h>

enum { BATCH = 64, WARM_UP = 5000 };

static char *volatile sink;

static void pairs(size_t size, long n) {
    for (long i = 0; i < n; i++) {
        sink = malloc(size);
        sink[0] = 1;
        free(sink);
    }
}

static void batch(long n) {
    char *blocks[BATCH];
    for (long i = 0; i < n / BATCH; i++) {
        for (int at = 0; at < BATCH; at++)
            blocks[at] = block_of(64);
        for (int at = 0; at < BATCH; at++)
            free(blocks[at]);
    }
}

static void zeroed(long n) {
    for (long i = 0; i < n; i++) {
        sink = calloc(1, 64);
        free(sink);
    }
}

static void grow(long n) {
    for (long i = 0; i < n / 4; i++) {
        sink = malloc(16);
        for (size_t size = 32; size <= 128; size *= 2)
            sink = realloc(sink, size);
        free(sink);
    }
}

static int work(const char *loop, long n) {
    if (!strncmp(loop, "insn-c-pair-", 12))
        pairs(strtoul(loop + 12, NULL, 10), n);
    else if (!strcmp(loop, "insn-c-batch"))
        batch(n);
    else if (!strcmp(loop, "insn-c-zeroed"))
        zeroed(n);
    else if (!strcmp(loop, "insn-c-realloc"))
        grow(n);
    else
        return 2;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s LOOP N\n", argv[0]);
        return 2;
    }
    int status = work(argv[1], WARM_UP);
    return status ? status : work(argv[1], atol(argv[2]));
}
