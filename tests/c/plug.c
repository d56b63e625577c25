/* A library to be opened late and closed again: memory in its constructor and destructor, and
 * thread-local storage that the loader takes from malloc when a thread first touches it. */
#include "check.h"

#ifndef TLS_BYTES
#define TLS_BYTES 100000
#endif
static __thread char hungry[TLS_BYTES];
static void *kept[50];

__attribute__((constructor)) static void start(void) {
    for (size_t i = 0; i < LENGTH(kept); i++) fill(kept[i] = malloc(i * 50), i * 50, i);
}
__attribute__((destructor)) static void finish(void) {
    for (size_t i = 0; i < LENGTH(kept); i++) verify(kept[i], i * 50, i, "the life of a library"), free(kept[i]);
    workout(1, "a library's end");
}

void plug_touch(size_t seed) {
    for (size_t i = seed % 4096; i < sizeof hungry; i += 4096) hungry[i]++;
}
void *plug_malloc(size_t n) { return malloc(n); }
void *plug_memalign(size_t align, size_t n) { return memalign(align, n); }
void plug_free(void *p) { free(p); }
char *plug_strdup(const char *text) { return strdup(text); }
/* The object that serves malloc to this library. */
const char *plug_owner(void) {
    Dl_info info;
    return dladdr((void *)malloc, &info) ? info.dli_fname : "nobody";
}
