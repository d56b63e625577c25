/* Libraries to test run.sh with: the C library's own malloc behind the marker, honest or with one fault.
 * EMPTY exports nothing, PASSIVE says that it is not in charge, IDLE claims to be but exports no malloc, and
 * in lua, after a while, FORGETS loses what realloc should keep, HANGS never returns, CRASHES aborts. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

#ifndef EMPTY
int pymalloc_is_in_charge(void)
{
#ifdef PASSIVE
    return 0;
#else
    return 1;
#endif
}

#ifndef IDLE
static int calls;

static int ripe(void)
{
    return ++calls == 5000 && !strncmp(program_invocation_short_name, "lua", 3);
}

void *malloc(size_t size) { return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return __libc_calloc(count, size); }
void free(void *block) { __libc_free(block); }

void *realloc(void *block, size_t size)
{
    if (ripe()) {
#ifdef HANGS
        for (;;) pause();
#endif
#ifdef CRASHES
        abort();
#endif
    }
#ifdef FORGETS
    /* Only a text that lua counts, so that the output is wrong but lua is not. */
    if (block && calls > 5000 && size > 3000 && !strncmp(program_invocation_short_name, "lua", 3))
        for (char *at = block, *end = at + malloc_usable_size(block) - 8; at < end; at++)
            if (!memcmp(at, "XXXXXXXX", 8)) memcpy(at, "YYYYYYYY", 8);
#endif
    return __libc_realloc(block, size);
}
#endif
#endif
