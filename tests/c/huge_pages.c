/* Prints how many KiB lie in huge pages: before all, with a block of 3 MiB, one of 6 MiB beside it, and then with small
 * blocks of 20 MiB and of 32 MiB in all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(void) {
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    char line[512];
    long kib = -1;
    while (rollup && fgets(line, sizeof line, rollup))
        sscanf(line, "AnonHugePages: %ld", &kib);
    if (rollup)
        fclose(rollup);
    printf("%ld\n", kib);
}

static void hold(size_t size, size_t n) {
    for (; n; n--)
        memset(malloc(size), 1, size);
}

int main(void) {
    say();
    hold(3 << 20, 1);
    say();
    hold(6 << 20, 1);
    say();
    hold(256, 20 << 12);
    say();
    hold(256, 12 << 12);
    say();
    return 0;
}
