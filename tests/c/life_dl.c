/* Libraries that come and go: PLUGS names a folder with copies plug0.so … plug39.so of plug.c. */
#include "churn.h"

#define PLUGS 40

struct plug {
    void *handle;
    void (*touch)(size_t);
    void *(*malloc)(size_t);
    void *(*memalign)(size_t, size_t);
    void (*free)(void *);
    char *(*strdup)(const char *);
    const char *(*owner)(void);
};

static struct plug open_plug(int number, int flags) {
    char path[4096];
    snprintf(path, sizeof path, "%s/plug%d.so", getenv("PLUGS"), number);
    struct plug plug;
    plug.handle = dlopen(path, flags);
    CHECK(plug.handle, "dlopen: %s", dlerror());
    plug.touch = (void (*)(size_t))dlsym(plug.handle, "plug_touch");
    plug.malloc = (void *(*)(size_t))dlsym(plug.handle, "plug_malloc");
    plug.memalign = (void *(*)(size_t, size_t))dlsym(plug.handle, "plug_memalign");
    plug.free = (void (*)(void *))dlsym(plug.handle, "plug_free");
    plug.strdup = (char *(*)(const char *))dlsym(plug.handle, "plug_strdup");
    plug.owner = (const char *(*)(void))dlsym(plug.handle, "plug_owner");
    return plug;
}

#define TOUCHERS 16
static pthread_barrier_t opened, touched;
static void (*_Atomic touch_now)(size_t);

/* Threads older than the libraries: the loader grows their tables and takes the TLS from malloc. */
static void *touch_each(void *seed) {
    uint64_t state = (uintptr_t)seed;
    for (;;) {
        pthread_barrier_wait(&opened);
        void (*touch)(size_t) = atomic_load(&touch_now);
        if (!touch) return NULL;
        touch(next_random(&state));
        churn_once(&state);
        pthread_barrier_wait(&touched);
    }
}

CASE(libraries_with_tls_come_and_go) {
    pthread_t threads[4], touchers[TOUCHERS];
    pthread_barrier_init(&opened, NULL, TOUCHERS + 1), pthread_barrier_init(&touched, NULL, TOUCHERS + 1);
    start_churn(threads, 4);
    for (uintptr_t i = 0; i < TOUCHERS; i++) CHECK(pthread_create(&touchers[i], NULL, touch_each, (void *)i) == 0, "pthread_create");
    struct plug plugs[PLUGS] = {{0}};
    for (int i = 0; i < 160; i++) {
        struct plug *plug = &plugs[i * 7 % PLUGS];
        if (plug->handle) CHECK(dlclose(plug->handle) == 0, "dlclose: %s", dlerror());
        *plug = open_plug(i * 7 % PLUGS, i % 2 ? RTLD_NOW : RTLD_LAZY | RTLD_GLOBAL);
        atomic_store(&touch_now, plug->touch);
        pthread_barrier_wait(&opened);
        char *ours = malloc(100), *theirs = plug->malloc(100), *text = plug->strdup("some text");
        plug->free(ours), free(theirs), free(text);
        pthread_barrier_wait(&touched);
    }
    for (int i = 0; i < PLUGS; i++) dlclose(plugs[i].handle);
    atomic_store(&touch_now, NULL);
    pthread_barrier_wait(&opened);
    for (int i = 0; i < TOUCHERS; i++) pthread_join(touchers[i], NULL);
    end_churn(threads, 4);
    workout(1, "libraries that came and went");
}

static void *open_and_close(void *number) {
    for (int i = 0; i < 60; i++) {
        struct plug plug = open_plug((int)(uintptr_t)number * 10 + i % 10, RTLD_NOW);
        plug.touch((size_t)i);
        char *block = plug.malloc(500);
        dlclose(plug.handle);
        free(block);
        CHECK(!dlopen("/no/such/library.so", RTLD_NOW) && dlerror(), "dlopen of nothing");
    }
    return NULL;
}

CASE(several_threads_open_and_close) {
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, open_and_close, (void *)i) == 0, "pthread_create");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    workout(2, "dlopen in threads");
}

/* RTLD_DEEPBIND, where it is kept, binds the library to glibc's malloc. Its blocks are foreign to us, and ours to free,
 * measure and resize by way of glibc. The other direction cannot be caught: glibc's free is called. (Where it is not kept:
 * deepbind.c.) */
CASE(deepbound_blocks_are_freed_by_whom_they_belong_to) {
    struct plug plug = open_plug(0, RTLD_NOW | RTLD_DEEPBIND);
    CHECK(strstr(plug.owner(), "libc.so"), "the deepbound library uses the malloc of %s", plug.owner());
    for (size_t n = 1; n < 2 * MIB; n = n * 2 + 1) {
        char *theirs[3] = {plug.malloc(n), plug.malloc(n), plug.memalign(4096, n)}, *ours = malloc(n);
        for (int i = 0; i < 3; i++) fill(theirs[i], n, n);
        CHECK(malloc_usable_size(theirs[0]) >= n, "usable size of a foreign block: %zu", malloc_usable_size(theirs[0]));
        theirs[1] = realloc(theirs[1], 3 * n);
        verify_prefix(theirs[1], n, 3 * n, n, "realloc of a foreign block");
        theirs[1] = realloc(theirs[1], n / 2 + 1);
        verify_prefix(theirs[1], n / 2 + 1, 3 * n, n, "realloc of a foreign block");
        verify(theirs[2], n, n, "foreign blocks");
        for (int i = 0; i < 3; i++) free(theirs[i]);
        CHECK(!realloc(plug.malloc(n), hide(0)), "realloc(foreign, 0)");
        plug.free(plug.malloc(n));
        free(ours);
    }
    char *text = plug.strdup("made in libc"); /* libc's own calls are ours */
    free(text);
    dlclose(plug.handle);
    workout(3, "a deepbound library");
}

/* The library itself, opened by a running program whose malloc is glibc's: LATE_LIBRARY. */
static void *(*late_malloc)(size_t), (*late_free)(void *), *(*late_realloc)(void *, size_t);

static void *use_late(void *seed) {
    uint64_t state = (uintptr_t)seed;
    void *blocks[100] = {0};
    size_t sizes[100] = {0};
    for (int i = 0; i < 5000; i++) {
        size_t at = next_random(&state) % 100;
        if (blocks[at]) verify(blocks[at], sizes[at], at, "a block of the late library");
        if (i % 3 == 0) late_free(blocks[at]), blocks[at] = NULL;
        sizes[at] = churn_size(next_random(&state)) + 1;
        blocks[at] = late_realloc(blocks[at], sizes[at]);
        CHECK(blocks[at], "the late library's realloc: %m");
        fill(blocks[at], sizes[at], at);
        churn_once(&state);
    }
    for (int i = 0; i < 100; i++) late_free(blocks[i]);
    return NULL;
}

static void open_the_library(const char *path, int flags) {
    void *library = dlopen(path, flags);
    CHECK(library, "dlopen: %s", dlerror());
    late_malloc = (void *(*)(size_t))dlsym(library, "malloc");
    late_realloc = (void *(*)(void *, size_t))dlsym(library, "realloc");
    late_free = (void (*)(void *))dlsym(library, "free");
    CHECK(late_malloc && late_realloc && late_free, "the library lacks malloc, realloc or free");
    dlclose(library); /* it stays: -z nodelete */
}

CASE(the_library_is_opened_late) {
    const char *path = getenv("LATE_LIBRARY"), *mode = getenv("LATE_GLOBAL");
    if (!path) return;
    pthread_t threads[4], users[8];
    start_churn(threads, 4);
    for (int i = 0; i < PLUGS; i++) open_plug(i, RTLD_NOW).touch(1);
    open_the_library(path, RTLD_NOW | (mode ? RTLD_GLOBAL : RTLD_LOCAL));
    for (uintptr_t i = 0; i < 8; i++) CHECK(pthread_create(&users[i], NULL, use_late, (void *)i) == 0, "pthread_create");
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            late_free(late_malloc(100)), use_late((void *)99);
            _exit(0);
        }
        wait_for(child, "fork with the library opened late");
    }
    for (int i = 0; i < 8; i++) pthread_join(users[i], NULL);
    for (size_t n = 1; n < 2 * MIB; n *= 3) late_free(malloc(n)); /* glibc's: foreign to the library */
    use_late((void *)100);
    end_churn(threads, 4);
}
