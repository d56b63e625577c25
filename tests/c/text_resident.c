/* Prints how many KiB of our library's code, and of what is only read of it, are resident after some calls of every tier,
 * by two threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *every_tier(void *unused) {
    for (size_t size = 1; size < 8 << 20; size += size / 2 + 1) {
        char *blocks[8];
        for (int i = 0; i < 8; i++) {
            blocks[i] = i % 2 ? malloc(size) : calloc(1, size);
            blocks[i][size - 1] = 1;
        }
        for (int i = 0; i < 8; i++)
            free(realloc(blocks[i], size + size / 3 + 1));
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, every_tier, NULL) || pthread_join(thread, NULL))
        return 1;
    every_tier(NULL);
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    long kib, code = 0, read = 0, other = 0, *sum = &other;
    while (maps && fgets(line, sizeof line, maps)) {
        if (strstr(line, "p ") && strstr(line, " r")) {
            int ours = strstr(line, "libpymalloc.so") != NULL;
            sum = ours && strstr(line, " r-xp ") ? &code : ours && strstr(line, " r--p ") ? &read : &other;
        } else if (sscanf(line, "Rss: %ld", &kib) == 1)
            *sum += kib;
    }
    printf("%ld %ld\n", code, read);
    return 0;
}
