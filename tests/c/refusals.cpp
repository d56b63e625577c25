/* Memory calls by every name while the system refuses the library its own calls. The executable exports the system's
 * functions, and what is preloaded finds them here first; glibc's malloc does not, so there nothing is refused. */
#include "check.h"
#include <initializer_list>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- The system: counts, and refuses the calls from `first` on, `how_many` of them, one in `every`. */
struct refusals {
    size_t first, how_many, every;
};
static struct refusals armed;
static bool is_armed;
static size_t n_calls;

static bool refused() {
    if (!__atomic_load_n(&is_armed, __ATOMIC_SEQ_CST)) return false;
    size_t call = __atomic_add_fetch(&n_calls, 1, __ATOMIC_SEQ_CST);
    return call >= armed.first && call - armed.first < armed.how_many && (call - armed.first) % armed.every == 0;
}
static void arm(struct refusals how) {
    armed = how, n_calls = 0;
    __atomic_store_n(&is_armed, true, __ATOMIC_SEQ_CST);
}
static size_t disarm() {
    __atomic_store_n(&is_armed, false, __ATOMIC_SEQ_CST);
    return n_calls;
}

extern "C" {
void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t at) noexcept {
    if (refused()) return errno = ENOMEM, MAP_FAILED;
    return (void *)syscall(SYS_mmap, p, n, prot, flags, fd, at);
}
void *mmap64(void *p, size_t n, int prot, int flags, int fd, off64_t at) noexcept {
    return mmap(p, n, prot, flags, fd, at);
}
int munmap(void *p, size_t n) noexcept {
    if (refused()) return errno = ENOMEM, -1;
    return (int)syscall(SYS_munmap, p, n);
}
int madvise(void *p, size_t n, int advice) noexcept {
    if (refused()) return errno = EINVAL, -1;
    return (int)syscall(SYS_madvise, p, n, advice);
}
int mprotect(void *p, size_t n, int prot) noexcept {
    if (refused()) return errno = ENOMEM, -1;
    return (int)syscall(SYS_mprotect, p, n, prot);
}
void *mremap(void *p, size_t old, size_t n, int flags, ...) noexcept {
    va_list rest;
    va_start(rest, flags);
    void *to = va_arg(rest, void *);
    va_end(rest);
    if (refused()) return errno = ENOMEM, MAP_FAILED;
    return (void *)syscall(SYS_mremap, p, old, n, flags, to);
}
int pthread_key_create(pthread_key_t *key, void (*end)(void *)) noexcept {
    if (refused()) return EAGAIN;
    return ((int (*)(pthread_key_t *, void (*)(void *)))dlsym(RTLD_NEXT, "pthread_key_create"))(key, end);
}
int pthread_setspecific(pthread_key_t key, const void *value) noexcept {
    if (refused()) return ENOMEM;
    return ((int (*)(pthread_key_t, const void *))dlsym(RTLD_NEXT, "pthread_setspecific"))(key, value);
}
}

/* ---- The program: what it holds is as it was written, whatever is refused. */
#define MOST 700
#define STRANGE 4242 /* an errno nobody sets */
/* Who takes a block back. */
enum maker { MALLOC, NEW, NEW_ARRAY };
struct book {
    void *blocks[MOST];
    enum maker makers[MOST];
    size_t sizes[MOST];
    size_t n, nulls;
};

static void give(void *p, enum maker maker) {
    errno = STRANGE;
    if (maker == MALLOC) free(p);
    if (maker == NEW) ::operator delete(p);
    if (maker == NEW_ARRAY) ::operator delete[](p);
    CHECK(errno == STRANGE, "giving a block back sets errno to %d", errno);
}

static void enter(struct book *book, void *p, size_t size, size_t align, const char *who, enum maker maker = MALLOC) {
    if (!p) {
        CHECK(errno == ENOMEM, "%s(%zu) gives null and errno %d", who, size, errno);
        book->nulls++;
        return;
    }
    /* new that is refused asks the C++ library, which asks again. */
    CHECK(!ours() || maker != MALLOC || errno == STRANGE, "%s(%zu) succeeds and sets errno to %d", who, size, errno);
    check_aligned(p, align, size, who);
    fill(p, size, size);
    if (book->n == MOST) return give(p, maker);
    book->blocks[book->n] = p, book->sizes[book->n] = size, book->makers[book->n] = maker, book->n++;
}

static void *thrown_or(size_t size, bool array) {
    try {
        return array ? ::operator new[](size) : ::operator new(size);
    } catch (const std::bad_alloc &) {
        return errno = ENOMEM, nullptr;
    }
}

#define MADE_IN(book, call, size, align, who) errno = STRANGE, enter(book, call, size, align, who)
#define MADE(align, who, call) MADE_IN(book, call, size, align, who)

/* Each name once. */
static void by_every_name(struct book *book, size_t size) {
    MADE(16, "malloc", malloc(size));
    errno = STRANGE;
    void *zero = calloc(1, size);
    if (zero) check_zero(zero, size, "calloc");
    enter(book, zero, size, 16, "calloc");
    MADE(16, "realloc", realloc(NULL, size));
    MADE(16, "reallocarray", reallocarray(NULL, 1, size));
    MADE(4096, "memalign", memalign(4096, size));
    MADE(4096, "valloc", valloc(size));
    MADE(64, "aligned_alloc", aligned_alloc(64, (size + 63) / 64 * 64));
    errno = STRANGE;
    enter(book, thrown_or(size, false), size, 16, "new", NEW);
    enter(book, thrown_or(size, true), size, 16, "new[]", NEW_ARRAY);
    errno = ENOMEM; /* which a nothrow form may leave as it was */
    enter(book, ::operator new(size, std::nothrow), size, 16, "new nothrow", NEW);
    void *p = (void *)STRANGE;
    errno = STRANGE;
    int code = posix_memalign(&p, 256, size);
    CHECK(errno == STRANGE, "posix_memalign sets errno");
    CHECK(code == 0 || (code == ENOMEM && p == (void *)STRANGE), "posix_memalign gives %d, %p", code, p);
    if (code == 0) enter(book, p, size, 256, "posix_memalign");
    book->nulls += code != 0;
}

static void resize(struct book *book, size_t i, size_t size) {
    if (book->makers[i] != MALLOC) return;
    void *old = book->blocks[i];
    size_t keep = size < book->sizes[i] ? size : book->sizes[i];
    verify(old, book->sizes[i], book->sizes[i], "before realloc");
    errno = STRANGE;
    void *p = realloc(old, size);
    if (!p) {
        CHECK(errno == ENOMEM, "realloc gives null and errno %d", errno);
        verify(old, book->sizes[i], book->sizes[i], "a refused realloc");
        book->nulls++;
        return;
    }
    verify_prefix(p, keep, book->sizes[i], book->sizes[i], "realloc");
    fill(p, size, size);
    book->blocks[i] = p, book->sizes[i] = size;
}

static void empty(struct book *book) {
    while (book->n) {
        book->n--;
        verify(book->blocks[book->n], book->sizes[book->n], book->sizes[book->n], "refusals");
        give(book->blocks[book->n], book->makers[book->n]);
    }
}

static void *in_a_thread(void *of_another) {
    struct book *book = (struct book *)of_another;
    empty(book);
    for (size_t size : {24, 3000, 300000}) by_every_name(book, size);
    return of_another;
}

/* Every tier, every name, on two threads. How many requests were refused. */
static size_t program() {
    static struct book book, other;
    book.n = other.n = book.nulls = other.nulls = 0;
    for (size_t size : {8, 100, 513, 3000, 20000, 262000, 300000}) by_every_name(&book, size);
    for (size_t i = 0; i < book.n; i += 3) resize(&book, i, book.sizes[i] * 3 + 1);
    MADE_IN(&book, malloc(3000000), 3000000, 16, "malloc");
    if (book.n) resize(&book, book.n - 1, 9000000);
    if (book.n) resize(&book, book.n - 1, 2000000);
    malloc_trim(0);
    by_every_name(&other, 100);
    by_every_name(&other, 270000);
    pthread_t thread;
    bool made = pthread_create(&thread, NULL, in_a_thread, &other) == 0;
    for (size_t i = 1; i < book.n; i += 3) resize(&book, i, book.sizes[i] / 3 + 1);
    for (size_t size : {16, 800}) by_every_name(&book, size);
    if (made) pthread_join(thread, NULL);
    empty(&book), empty(&other);
    malloc_trim(0);
    return book.nulls + other.nulls;
}

/* The program in a copy of this process, then once more when nothing is refused. The calls it made. */
static size_t in_a_copy(struct refusals how) {
    size_t *page = (size_t *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED, "mmap: %m");
    pid_t child = fork();
    CHECK(child >= 0, "fork: %m");
    if (child == 0) {
        arm(how);
        size_t nulls = program();
        *page = disarm();
        CHECK(how.how_many || !nulls, "%zu requests refused without a reason", nulls);
        nulls = program();
        CHECK(!nulls, "%zu requests refused afterwards", nulls);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "refused %zu calls from %zu on, one in %zu: status %#x",
          how.how_many, how.first, how.every, (unsigned)status);
    size_t calls = *page;
    syscall(SYS_munmap, page, 4096);
    return calls;
}

static size_t calls_of_the_program() {
    size_t n = in_a_copy({1, 0, 1});
    CHECK(!ours() || n > 30, "%zu calls arrive here", n);
    return n;
}

/* Guarded blocks take five times as many calls, and longer: one in so many is refused. */
static size_t step() { return guarded() ? 9 : 1; }

CASE(every_single_refusal_is_borne) {
    size_t n = calls_of_the_program();
    for (size_t k = 1; k <= n; k += step()) in_a_copy({k, 1, 1});
}
CASE(every_kth_refusal_is_borne) {
    size_t n = calls_of_the_program();
    for (size_t k = 2; k <= n / 2; k += step()) in_a_copy({k, SIZE_MAX, k});
}
CASE(refusals_without_end_are_borne) {
    size_t n = calls_of_the_program();
    for (size_t k = 1; k <= n; k += 5 * step()) in_a_copy({k, SIZE_MAX, 1});
}
