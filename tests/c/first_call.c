/* One call of the malloc family as the first thing that happens in a process.
 *
 * As an executable: from the resolver of an ifunc, while the loader still relocates, before any
 * constructor, and before thread-local storage has its initial values: it reads as zero. The call is
 * named by FIRST_RESOLVED. As a shared object (-DSHARED) preloaded beside ours: from its constructor;
 * named by FIRST_CALL. Both are read from /proc because getenv has nothing to read yet. */
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WEAK(name) extern __typeof__(name) name __attribute__((weak))
WEAK(malloc); WEAK(free); WEAK(calloc); WEAK(realloc); WEAK(reallocarray); WEAK(aligned_alloc); WEAK(memalign);
WEAK(posix_memalign); WEAK(valloc); WEAK(pvalloc); WEAK(malloc_usable_size); WEAK(mallinfo); WEAK(mallinfo2);
WEAK(malloc_trim); WEAK(malloc_stats); WEAK(malloc_info); WEAK(mallopt); WEAK(dlopen);
#define TAKES(name, ...) __attribute__((weak)) void *name(__VA_ARGS__)
TAKES(cfree, void *); TAKES(free_sized, void *, size_t); TAKES(free_aligned_sized, void *, size_t, size_t);
TAKES(__libc_malloc, size_t); TAKES(__libc_calloc, size_t, size_t); TAKES(__libc_realloc, void *, size_t);
TAKES(__libc_free, void *); TAKES(__libc_cfree, void *); TAKES(__libc_memalign, size_t, size_t);
TAKES(__libc_valloc, size_t); TAKES(__libc_pvalloc, size_t);
__attribute__((weak)) int __posix_memalign(void **, size_t, size_t);
__attribute__((weak)) size_t malloc_good_size(size_t);
__attribute__((weak)) size_t malloc_size(const void *);
TAKES(_Znwm, size_t); TAKES(_Znam, size_t);
TAKES(_ZnwmRKSt9nothrow_t, size_t, void *); TAKES(_ZnamRKSt9nothrow_t, size_t, void *);
TAKES(_ZnwmSt11align_val_t, size_t, size_t); TAKES(_ZnamSt11align_val_t, size_t, size_t);
TAKES(_ZnwmSt11align_val_tRKSt9nothrow_t, size_t, size_t, void *);
TAKES(_ZnamSt11align_val_tRKSt9nothrow_t, size_t, size_t, void *);
TAKES(_ZdlPv, void *); TAKES(_ZdaPv, void *);
TAKES(_ZdlPvRKSt9nothrow_t, void *, void *); TAKES(_ZdaPvRKSt9nothrow_t, void *, void *);
TAKES(_ZdlPvm, void *, size_t); TAKES(_ZdaPvm, void *, size_t);
TAKES(_ZdlPvSt11align_val_t, void *, size_t); TAKES(_ZdaPvSt11align_val_t, void *, size_t);
TAKES(_ZdlPvmSt11align_val_t, void *, size_t, size_t); TAKES(_ZdaPvmSt11align_val_t, void *, size_t, size_t);
TAKES(_ZdlPvSt11align_val_tRKSt9nothrow_t, void *, size_t, void *);
TAKES(_ZdaPvSt11align_val_tRKSt9nothrow_t, void *, size_t, void *);

enum { UNKNOWN, ABSENT, CALLED, NO_BLOCK };
static int outcome = UNKNOWN;
static void *block;

/* The value of `key`, of which there are at most 100 bytes; on the stack, since nothing is set up. */
static void environment(const char *key, char value[100]) {
    char text[4096], entry[200];
    size_t at = 0, length = strlen(key);
    int file = open("/proc/self/environ", O_RDONLY);
    value[0] = 0;
    for (ssize_t n; (n = read(file, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < n; i++) {
            if (at < sizeof entry) entry[at++] = text[i];
            if (text[i]) continue;
            if (at < sizeof entry && strncmp(entry, key, length) == 0 && entry[length] == '=')
                strncpy(value, entry + length + 1, 99), value[99] = 0;
            at = 0;
        }
    close(file);
}

/* GIVES calls must give a block; the others must merely return. */
#define CALL(name, call)                  \
    if (strcmp(wanted, #name) == 0) {     \
        if (!name) return ABSENT;         \
        call;                             \
        return CALLED;                    \
    }
#define GIVES(name, call)                 \
    if (strcmp(wanted, #name) == 0) {     \
        if (!name) return ABSENT;         \
        block = call;                     \
        return block ? CALLED : NO_BLOCK; \
    }

static int first_c_call(const char *wanted) {
    GIVES(malloc, malloc(0)) GIVES(calloc, calloc(0, 0)) GIVES(realloc, realloc(NULL, 0))
    GIVES(reallocarray, reallocarray(NULL, 0, 0)) GIVES(aligned_alloc, aligned_alloc(64, 0))
    GIVES(memalign, memalign(0, 0)) GIVES(valloc, valloc(0)) GIVES(pvalloc, pvalloc(0))
    GIVES(__libc_malloc, __libc_malloc(0)) GIVES(__libc_calloc, __libc_calloc(0, 0))
    GIVES(__libc_realloc, __libc_realloc(NULL, 0)) GIVES(__libc_memalign, __libc_memalign(64, 0))
    GIVES(__libc_valloc, __libc_valloc(0)) GIVES(__libc_pvalloc, __libc_pvalloc(0))
    CALL(posix_memalign, if (posix_memalign(&block, 64, 0)) return NO_BLOCK)
    CALL(__posix_memalign, if (__posix_memalign(&block, 64, 0)) return NO_BLOCK)
    CALL(free, free(NULL)) CALL(cfree, cfree(NULL)) CALL(free_sized, free_sized(NULL, 0))
    CALL(free_aligned_sized, free_aligned_sized(NULL, 64, 0))
    CALL(__libc_free, __libc_free(NULL)) CALL(__libc_cfree, __libc_cfree(NULL))
    CALL(malloc_usable_size, malloc_usable_size(NULL)) CALL(malloc_size, malloc_size(NULL))
    CALL(malloc_good_size, malloc_good_size(0)) CALL(mallinfo, mallinfo()) CALL(mallinfo2, mallinfo2())
    CALL(malloc_trim, malloc_trim(0)) CALL(malloc_stats, malloc_stats())
    CALL(malloc_info, malloc_info(1, NULL)) CALL(mallopt, mallopt(M_ARENA_MAX, 1))
    CALL(dlopen, if (!dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND)) return NO_BLOCK)
    return UNKNOWN;
}

static int first_cxx_call(const char *wanted) {
    static char nothrow;
    GIVES(_Znwm, _Znwm(0)) GIVES(_Znam, _Znam(0))
    GIVES(_ZnwmRKSt9nothrow_t, _ZnwmRKSt9nothrow_t(0, &nothrow))
    GIVES(_ZnamRKSt9nothrow_t, _ZnamRKSt9nothrow_t(0, &nothrow))
    GIVES(_ZnwmSt11align_val_t, _ZnwmSt11align_val_t(0, 64)) GIVES(_ZnamSt11align_val_t, _ZnamSt11align_val_t(0, 64))
    GIVES(_ZnwmSt11align_val_tRKSt9nothrow_t, _ZnwmSt11align_val_tRKSt9nothrow_t(0, 64, &nothrow))
    GIVES(_ZnamSt11align_val_tRKSt9nothrow_t, _ZnamSt11align_val_tRKSt9nothrow_t(0, 64, &nothrow))
    CALL(_ZdlPv, _ZdlPv(NULL)) CALL(_ZdaPv, _ZdaPv(NULL))
    CALL(_ZdlPvRKSt9nothrow_t, _ZdlPvRKSt9nothrow_t(NULL, &nothrow))
    CALL(_ZdaPvRKSt9nothrow_t, _ZdaPvRKSt9nothrow_t(NULL, &nothrow))
    CALL(_ZdlPvm, _ZdlPvm(NULL, 0)) CALL(_ZdaPvm, _ZdaPvm(NULL, 0))
    CALL(_ZdlPvSt11align_val_t, _ZdlPvSt11align_val_t(NULL, 64))
    CALL(_ZdaPvSt11align_val_t, _ZdaPvSt11align_val_t(NULL, 64))
    CALL(_ZdlPvmSt11align_val_t, _ZdlPvmSt11align_val_t(NULL, 0, 64))
    CALL(_ZdaPvmSt11align_val_t, _ZdaPvmSt11align_val_t(NULL, 0, 64))
    CALL(_ZdlPvSt11align_val_tRKSt9nothrow_t, _ZdlPvSt11align_val_tRKSt9nothrow_t(NULL, 64, &nothrow))
    CALL(_ZdaPvSt11align_val_tRKSt9nothrow_t, _ZdaPvSt11align_val_tRKSt9nothrow_t(NULL, 64, &nothrow))
    return UNKNOWN;
}

static void first_call(const char *key) {
    char wanted[100];
    environment(key, wanted);
    if (!wanted[0]) return;
    outcome = first_c_call(wanted);
    if (outcome == UNKNOWN) outcome = first_cxx_call(wanted);
}

#ifdef SHARED
__attribute__((constructor(101))) static void start(void) { first_call("FIRST_CALL"); }

int first_outcome(void **made) {
    *made = block;
    return outcome;
}
#else
#include "check.h"

static int ready(void) { return 0; }
static int (*resolve_ready(void))(void) {
    first_call("FIRST_RESOLVED");
    return ready;
}
int resolved(void) __attribute__((ifunc("resolve_ready")));

/* By the family that made it. */
static void give_back(void) {
    char by[100];
    environment("FIRST_CALL", by);
    if (!by[0]) environment("FIRST_RESOLVED", by);
    int array = strncmp(by, "_Zna", 4) == 0, aligned = strstr(by, "align_val_t") != NULL;
    if (strncmp(by, "_Zn", 3) != 0 || !_ZdlPv) free(block);
    else if (aligned) array ? _ZdaPvSt11align_val_t(block, 64) : _ZdlPvSt11align_val_t(block, 64);
    else array ? _ZdaPv(block) : _ZdlPv(block);
}

int main(void) {
    int (*of_shared)(void **) = (int (*)(void **))dlsym(RTLD_DEFAULT, "first_outcome");
    if (of_shared) outcome = of_shared(&block);
    else CHECK(resolved() == 0, "the ifunc");
    if (outcome == ABSENT && !preloaded()) return 0;
    CHECK(outcome == CALLED, "%s",
          outcome == ABSENT ? "not exported" : outcome == NO_BLOCK ? "gives no block" : "unknown to this test");
    prove_who_is_in_charge();
    give_back();
    workout(1, "the first call");
    say(1, "ok\n");
    return 0;
}
#endif
