/* Libraries opened with RTLD_DEEPBIND. DEEP names a folder:
 *
 *   libcaller.so          opens what it is told to; its RUNPATH is $ORIGIN/near
 *   near/libneighbour.so  found by nothing but that
 *   libdeep.so            allocates, frees, and has a deep_choice, as this program has one
 *
 * Compiled with -DCALLER and -DDEEP these are the libraries; with -DEARLY, one to preload, whose constructor opens
 * libdeep.so; with -DOWN_MALLOC, the program with a malloc of its own. DEEP_FLAG: the flag is expected to be cleared, or kept. */
#include "check.h"

__attribute__((unused)) static void *open_deep(int flags) {
    char path[4096];
    snprintf(path, sizeof path, "%s/libdeep.so", getenv("DEEP"));
    void *handle = dlopen(path, flags);
    CHECK(handle, "dlopen: %s", dlerror());
    return handle;
}

/* Either frees what the other made. */
__attribute__((unused)) static void exchange_with(void *handle) {
    void *(*deep_malloc)(size_t) = (void *(*)(size_t))dlsym(handle, "deep_malloc");
    void (*deep_free)(void *) = (void (*)(void *))dlsym(handle, "deep_free");
    for (size_t n = 1; n < 4 * MIB; n = n * 2 + 1) {
        char *theirs = deep_malloc(n), *ours = malloc(n), *again = malloc(n);
        CHECK(theirs && ours && again, "a block of %zu bytes", n);
        fill(theirs, n, n), fill(ours, n, n + 1);
        verify(theirs, n, n, "a block of the library"), verify(ours, n, n + 1, "a block of the program");
        free(theirs), deep_free(ours), deep_free(realloc(again, n + 100));
    }
}

#if defined DEEP

/* Small, as an extension's: what it has is by other objects' names. */
int deep_choice(void) { return 2; }
int deep_chosen(void) { return deep_choice(); }
void *deep_malloc(size_t n) { return malloc(n); }
void deep_free(void *p) { free(p); }

#elif defined CALLER

/* The call must not become a jump, or the caller is another object. */
void *caller_open(const char *name, int flags) {
    void *volatile handle = dlopen(name, flags);
    return handle;
}

#elif defined EARLY

static void *early;
__attribute__((constructor(101))) static void start(void) {
    early = open_deep(RTLD_NOW | RTLD_DEEPBIND);
    exchange_with(early);
}
void *early_handle(void) { return early; }

#else

#ifdef OWN_MALLOC
/* As little as runs a program: nothing is used twice. */
static char room[64 * MIB] __attribute__((aligned(16)));
static _Atomic size_t used = 16;
static _Atomic size_t foreign;
void *malloc(size_t n) {
    size_t bytes = (n + 31) & ~(size_t)15, at = __atomic_fetch_add(&used, bytes, __ATOMIC_RELAXED);
    if (bytes < n || at + bytes > sizeof room) return NULL;
    *(size_t *)(room + at) = n;
    return room + at + 16;
}
void free(void *p) { if (p && ((char *)p < room || (char *)p >= room + sizeof room)) foreign++; }
void *calloc(size_t a, size_t b) { return malloc(a * b); }
void *realloc(void *old, size_t n) {
    void *p = malloc(n);
    size_t before = old ? ((size_t *)old)[-2] : 0;
    return p && old ? memcpy(p, old, before < n ? before : n) : p;
}
#endif

int deep_choice(void) { return 1; }

CASE(the_library_and_the_program_free_each_others_blocks) {
    void *handle = open_deep(RTLD_NOW | RTLD_DEEPBIND);
    exchange_with(handle);
    CHECK(dlclose(handle) == 0, "dlclose: %s", dlerror());
    workout(1, "a deepbound library");
}

CASE(the_flag_is_as_expected) {
    int flags[] = {RTLD_NOW, RTLD_LAZY, RTLD_NOW | RTLD_GLOBAL, RTLD_LAZY | RTLD_NODELETE};
    const char *expected = getenv("DEEP_FLAG");
    CHECK(expected, "nothing is expected");
    for (size_t i = 0; i < LENGTH(flags); i++) {
        void *handle = open_deep(flags[i] | RTLD_DEEPBIND);
        int (*chosen)(void) = (int (*)(void))dlsym(handle, "deep_chosen");
        const char *flag = chosen() == 2 ? "kept" : "cleared";
        CHECK(strcmp(flag, expected) == 0, "the flag is %s beside %#x, and not %s", flag, flags[i], expected);
        dlclose(handle);
    }
#ifdef OWN_MALLOC
    CHECK(foreign == 0, "%zu frees of what is not the program's", (size_t)foreign);
#endif
}

/* Without RTLD_DEEPBIND nothing changes, whatever is expected of it. */
CASE(without_the_flag_the_programs_own_is_found) {
    void *handle = open_deep(RTLD_NOW);
    int (*chosen)(void) = (int (*)(void))dlsym(handle, "deep_chosen");
    CHECK(chosen() == 1, "the library found its own");
    dlclose(handle);
}

CASE(the_callers_runpath_and_origin_are_found) {
    char path[4096];
    snprintf(path, sizeof path, "%s/libcaller.so", getenv("DEEP"));
    void *caller = dlopen(path, RTLD_NOW);
    CHECK(caller, "dlopen: %s", dlerror());
    void *(*caller_open)(const char *, int) = (void *(*)(const char *, int))dlsym(caller, "caller_open");
    const char *names[] = {"libneighbour.so", "$ORIGIN/near/libneighbour.so"};
    int extra[] = {0, RTLD_DEEPBIND};
    for (size_t i = 0; i < 4; i++) {
        const char *name = names[i / 2];
        int flags = RTLD_NOW | extra[i % 2];
        CHECK(!dlopen(name, flags), "the program finds %s", name);
        CHECK(!caller_open(name, flags | RTLD_NOLOAD), "%s is there already", name);
        void *handle = caller_open(name, flags);
        CHECK(handle, "caller_open(%s, %#x): %s", name, flags, dlerror());
        CHECK(dlsym(handle, "deep_choice"), "dlsym: %s", dlerror());
        void *again = caller_open(name, flags | RTLD_NOLOAD);
        CHECK(again == handle, "RTLD_NOLOAD gives %p, not %p", again, handle);
        dlclose(again), dlclose(handle);
    }
}

CASE(no_name_is_the_program) {
    int flags[] = {RTLD_NOW, RTLD_NOW | RTLD_DEEPBIND, RTLD_LAZY | RTLD_DEEPBIND | RTLD_NOLOAD};
    void *program = dlopen(NULL, RTLD_LAZY);
    CHECK(program, "dlopen: %s", dlerror());
    for (size_t i = 0; i < LENGTH(flags); i++)
        CHECK(dlopen(NULL, flags[i]) == program, "dlopen(NULL, %#x)", flags[i]);
    CHECK(dlsym(program, "deep_choice") == (void *)deep_choice, "dlsym: %s", dlerror());
}

/* What is wrong, in the C library's words: the test compares them. */
CASE(errors_are_told) {
    char text[4096];
    snprintf(text, sizeof text, "%s/no_library", getenv("DEEP"));
    struct { const char *name; int flags; } wrong[] = {
        {"/no/such/library.so", RTLD_NOW}, {"/no/such/library.so", RTLD_NOW | RTLD_DEEPBIND},
        {"no_such_library.so", RTLD_LAZY | RTLD_DEEPBIND}, {text, RTLD_NOW | RTLD_DEEPBIND},
        {text, 0}, {text, RTLD_DEEPBIND}, {NULL, RTLD_DEEPBIND}, {"libc.so.6", RTLD_DEEPBIND | 0x100},
    };
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        CHECK(!dlopen(wrong[i].name, wrong[i].flags), "case %zu is opened", i);
        say(1, "%zu: %s\n", i, dlerror());
        CHECK(!dlerror(), "an error that is told stays");
    }
    /* Nor is there one to tell of what went well, or of no library of that name. */
    CHECK(!dlopen("no_such_library.so", RTLD_NOW | RTLD_DEEPBIND | RTLD_NOLOAD), "what is not there is there");
    say(1, "not loaded: %s\n", dlerror());
    void *handle = open_deep(RTLD_NOW | RTLD_DEEPBIND);
    CHECK(!dlerror(), "an error of what is opened");
    dlclose(handle);
}

/* EARLY is preloaded, too, and had its constructor before ours. */
CASE(an_early_constructor_may_open) {
    void *(*early_handle)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "early_handle");
    CHECK(early_handle && early_handle(), "nothing was opened early");
    exchange_with(early_handle());
    void *again = open_deep(RTLD_NOW | RTLD_DEEPBIND | RTLD_NOLOAD);
    CHECK(again == early_handle(), "RTLD_NOLOAD gives another handle");
    workout(2, "an early dlopen");
}

#define OPENERS 4
static void *open_and_close(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        void *handle = open_deep(i % 2 ? RTLD_NOW | RTLD_DEEPBIND : RTLD_LAZY);
        ((void (*)(void *))dlsym(handle, "deep_free"))(malloc((size_t)i * 50));
        CHECK(!dlopen("/no/such/library.so", RTLD_NOW | RTLD_DEEPBIND) && dlerror(), "dlopen of nothing");
        dlclose(handle);
    }
    return NULL;
}

CASE(threads_open_at_once) {
    pthread_t threads[OPENERS];
    for (int i = 0; i < OPENERS; i++) CHECK(pthread_create(&threads[i], NULL, open_and_close, NULL) == 0, "pthread_create");
    for (int i = 0; i < OPENERS; i++) pthread_join(threads[i], NULL);
}

#ifdef OWN_MALLOC
/* In the place of cases.c, which wants our library in charge where it is loaded. */
void add_case(struct test_case *unused) { (void)unused; }
int main(void) {
    int (*is_in_charge)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "pymalloc_is_in_charge");
    CHECK(!is_in_charge || !is_in_charge(), "the program's own malloc is not used");
    CHECK(!is_in_charge == !getenv("LD_PRELOAD"), "is the library loaded?");
    the_flag_is_as_expected();
    say(1, "ok the_flag_is_as_expected\n");
    return 0;
}
#endif
#endif
