/* One misuse a process: `misuse KIND SIZE OFFSET`. Before it strikes it prints the address it will
 * pass and the block's usable size, so that the message can be compared to the last digit. */
#include "check.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void announce(void *p, size_t usable) { say(1, "%#lx %zu\n", (unsigned long)(uintptr_t)p, usable); }

static void *announced(size_t size) {
    void *p = malloc(size);
    memset(p, 0x5a, size);
    announce(p, malloc_usable_size(p));
    return hide_pointer(p);
}
/* A thread that was there before the block was freed, so that making it cannot take the block. */
static pthread_barrier_t start;
static pthread_t courier;
static void *parcel;

static void *deliver(void *unused) {
    pthread_barrier_wait(&start);
    free(parcel);
    return unused;
}
static void hire(void) {
    pthread_barrier_init(&start, NULL, 2);
    CHECK(pthread_create(&courier, NULL, deliver, NULL) == 0, "pthread_create");
}
static void on_a_thread(void *p) {
    parcel = p;
    pthread_barrier_wait(&start);
    pthread_join(courier, NULL);
}

static void double_immediate(size_t size, size_t unused) {
    (void)unused;
    char *p = announced(size);
    free(p);
    free(hide_pointer(p));
}
static void double_after_another(size_t size, size_t others) {
    char **blocks = malloc(others * sizeof *blocks);
    for (size_t i = 0; i < others; i++) blocks[i] = malloc(size);
    char *p = announced(size);
    free(p);
    for (size_t i = 0; i < others; i++) free(blocks[i]);
    free(hide_pointer(p));
}
static void double_on_another_thread(size_t size, size_t unused) {
    (void)unused;
    hire();
    char *p = announced(size);
    free(p);
    on_a_thread(hide_pointer(p));
}
static void double_after_another_thread(size_t size, size_t unused) {
    (void)unused;
    hire();
    char *p = announced(size);
    on_a_thread(p);
    free(hide_pointer(p));
}
/* By then the block's arena is no arena any more; with `trims` its memory is the system's. */
static void double_after_the_arena_went_back(size_t size, size_t trims) {
    enum { MOST = 400000 };
    static char *blocks[MOST];
    int n = 0;
    for (size_t held = 0; held < 8 * MIB; held += size, n++) blocks[n] = malloc(size);
    char *p = blocks[n / 2];
    announce(p, malloc_usable_size(p));
    for (int i = 0; i < n; i++) free(blocks[i]);
    if (trims) malloc_trim(0);
    free(hide_pointer(p));
}
static void double_in_other_words(size_t size, size_t how) {
    void (*delete_)(void *) = (void (*)(void *))symbol("_ZdlPv");
    void (*free_sized_)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
    char *p = announced(size);
    if (how == 0) CHECK(!realloc(p, hide(0)), "realloc(p, 0)");
    if (how == 1) delete_(p);
    if (how == 2) free_sized_(p, size);
    if (how == 0) free(hide_pointer(p));
    if (how == 1) delete_(hide_pointer(p));
    if (how == 2) free_sized_(hide_pointer(p), size);
}
static void interior(size_t size, size_t offset) {
    char *p = malloc(size);
    size_t usable = malloc_usable_size(p);
    announce(p + offset, usable);
    free(hide_pointer(p + offset));
}
/* The worst that production does with it: what was freed is wanted again before the list goes home, and the
 * program writes all over it. Its own block of that size is spoilt; nobody else's is, and the heap goes on. */
static void interior_then_reuse(size_t size, size_t offset) {
    enum { OTHERS = 4000, AGAIN = 64 };
    static char *others[OTHERS];
    static size_t sizes[OTHERS];
    uint64_t state = size;
    for (int i = 0; i < OTHERS; i++) {
        /* Any size, but for the class that is misused. */
        do sizes[i] = 1 + next_random(&state) % (i % 50 ? 1500 : 60000);
        while (sizes[i] > size / 4 * 3 && sizes[i] < size / 3 * 4);
        fill(others[i] = malloc(sizes[i]), sizes[i], (uint64_t)i);
    }
    char *company[AGAIN], *p = malloc(size);
    size_t usable = malloc_usable_size(p);
    for (int i = 0; i < AGAIN; i++) company[i] = malloc(size);
    announce(p + offset, usable);
    free(hide_pointer(p + offset));
    int met = 0;
    char *again[AGAIN];
    for (int i = 0; i < AGAIN; i++) {
        memset(again[i] = malloc(size), 0xff, usable);
        met |= again[i] == p + offset;
    }
    for (int i = 0; i < OTHERS; i++) verify(others[i], sizes[i], (uint64_t)i, "another block, when one was freed inside");
    workout(9, "a free inside a block");
    for (int i = 0; i < OTHERS; i++) free(others[i]);
    say(1, "others are whole%s\n", met ? ", and it was handed out" : "");
    for (int i = 0; i < AGAIN; i++) free(company[i]), free(again[i]);
}
/* The same of the last block in an arena: what is handed out in the middle of it reaches, if it may, into the next
 * arena, whose books come first. That arena is used, emptied and filled afterwards. */
static void interior_at_an_arenas_end(size_t size, size_t back) {
    enum { MOST = 400000, AGAIN = 64 };
    static char *blocks[MOST];
    int n = 0, last = -1;
    for (size_t held = 0; held < 8 * MIB; held += size, n++) fill(blocks[n] = malloc(size), size, (uint64_t)n);
    /* The block that ends nearest to the end of an arena behind which there is another. */
    for (int i = 0; i < n; i++) {
        uintptr_t next = (uintptr_t)blocks[i] / MIB + 1;
        int is_followed = 0;
        for (int k = 0; k < n && !is_followed; k += 8) is_followed = (uintptr_t)blocks[k] / MIB == next;
        if (is_followed && (last < 0 || (uintptr_t)blocks[i] % MIB > (uintptr_t)blocks[last] % MIB)) last = i;
    }
    CHECK(last >= 0, "no arena follows another");
    size_t usable = malloc_usable_size(blocks[last]);
    char *p = blocks[last] + usable - back, *again[AGAIN];
    uintptr_t next = (uintptr_t)blocks[last] / MIB + 1;
    announce(p, usable);
    free(hide_pointer(p));
    int met = 0;
    for (int i = 0; i < AGAIN; i++) {
        memset(again[i] = malloc(size), 0xff, usable);
        met |= again[i] == p;
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < n; i++)
            if (i != last) verify(blocks[i], size, (uint64_t)i, "another block, when one was freed inside");
        for (int i = 0; i < n; i++)
            if ((uintptr_t)blocks[i] / MIB == next) free(blocks[i]), blocks[i] = NULL;
        for (int i = 0; i < n; i++)
            if (!blocks[i]) fill(blocks[i] = malloc(size), size, (uint64_t)i);
    }
    workout(9, "a free inside the last block of an arena");
    say(1, "others are whole%s\n", met ? ", and it was handed out" : "");
    for (int i = 0; i < n; i++) free(blocks[i]);
    for (int i = 0; i < AGAIN; i++) free(again[i]);
}
/* In front of the first block of an arena, when there are many: there its books lie. */
static void write_to_books(size_t size, size_t arenas) {
    char *p = NULL;
    for (size_t held = 0; held < arenas * MIB; held += size) memset(p = malloc(size), 1, size);
    volatile char *end_of_books = (char *)((uintptr_t)p & ~(MIB - 1)) + 16 * KIB - 1;
    announce((void *)end_of_books, malloc_usable_size(p));
    *end_of_books = 1;
    say(1, "went on\n");
}
/* An address of the heap's own book-keeping, or of pages nobody was given: the start of the 1 MiB
 * arena around a small block, and a block's place far behind the only one of its class. */
static void own_metadata(size_t size, size_t offset) {
    char *p = malloc(size), *arena = (char *)((uintptr_t)p & ~(MIB - 1));
    announce(arena + offset, 0);
    free(hide_pointer(arena + offset));
}
static void never_given_out(size_t size, size_t blocks) {
    char *p = malloc(size);
    announce(p + size * blocks, malloc_usable_size(p));
    free(hide_pointer(p + size * blocks));
}
/* What a crash reporter does: fork from the handler of the abort, and take memory for its report.
 * So nothing may be locked when the signal is raised. */
static void report(int number) {
    workout(3, "the crash reporter");
    pid_t child = fork();
    if (child == 0) _exit(0);
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) _exit(9);
    say(1, "reported\n");
    signal(number, SIG_DFL);
    raise(number);
}
static void double_under_a_crash_reporter(size_t size, size_t unused) {
    signal(SIGABRT, report);
    double_immediate(size, unused);
}
/* What is noticed when a list goes home is noticed under a heap's lock: at exit, when a list is full, and on another
 * thread, which delivers it. */
static void interior_under_a_crash_reporter(size_t size, size_t how) {
    signal(SIGABRT, report);
    if (how == 1) hire();
    char *p = announced(size);
    if (how == 1) on_a_thread(p + 16);
    else free(hide_pointer(p + 16));
    if (how != 2) return;
    static char *blocks[30000];
    for (size_t i = 0; i < LENGTH(blocks); i++) blocks[i] = malloc(size);
    for (size_t i = 0; i < LENGTH(blocks); i++) free(blocks[i]);
}

static char in_static_memory[4096] __attribute__((aligned(64)));

static void foreign_static(size_t size, size_t offset) {
    (void)size;
    memset(in_static_memory, 0, sizeof in_static_memory);
    announce(in_static_memory + offset, 0);
    free(hide_pointer(in_static_memory + offset));
}
static void foreign_stack(size_t size, size_t offset) {
    char buffer[4096] __attribute__((aligned(64))) = {0};
    (void)size;
    announce(buffer + offset, 0);
    free(hide_pointer(buffer + offset));
}
static void foreign_mapping(size_t size, size_t offset) {
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    announce(p + offset, 0);
    free(hide_pointer(p + offset));
}
/* An address that is no memory at all; small, beyond the user's half, not canonical. */
static void foreign_number(size_t address, size_t unused) {
    (void)unused;
    announce((void *)address, 0);
    free(hide_pointer((void *)address));
}
/* A block that glibc's own malloc gave: legal, since it knows how to free it. */
static void foreign_block_of_glibc(size_t size, size_t how) {
    void *libc = dlopen("libc.so.6", RTLD_NOLOAD | RTLD_NOW);
    void *(*glibc_malloc)(size_t) = (void *(*)(size_t))dlsym(libc, "malloc");
    CHECK(glibc_malloc, "libc.so.6 has no malloc");
    for (int i = 0; i < 500; i++) {
        char *p = glibc_malloc(size);
        fill(p, size, 7);
        if (i == 0) announce(p, 0);
        CHECK(how == 2 || malloc_usable_size(p) >= size, "malloc_usable_size of glibc's block is %zu", malloc_usable_size(p));
        if (how == 1) {
            p = realloc(p, size * 3);
            verify_prefix(p, size, size * 3, 7, "realloc of glibc's block");
        }
        free(p);
    }
}
/* What lies in front of a block and behind it: two words and one. */
static void neighbours(size_t size, size_t unused) {
    (void)unused;
    unsigned char *p = announced(size);
    uint64_t words[3];
    memcpy(words, p - 16, 16), memcpy(words + 2, p + size, 8);
    say(1, "%#lx %#lx %#lx\n", (unsigned long)words[0], (unsigned long)words[1], (unsigned long)words[2]);
}
static void nothing(size_t size, size_t unused) {
    (void)unused;
    free(announced(size));
    workout(1, "nothing");
}

static const struct {
    const char *name;
    void (*strike)(size_t, size_t);
} kinds[] = {
    {"double_immediate", double_immediate},
    {"double_after_another", double_after_another},
    {"double_on_another_thread", double_on_another_thread},
    {"double_after_another_thread", double_after_another_thread},
    {"double_after_the_arena_went_back", double_after_the_arena_went_back},
    {"double_in_other_words", double_in_other_words},
    {"double_under_a_crash_reporter", double_under_a_crash_reporter},
    {"interior_under_a_crash_reporter", interior_under_a_crash_reporter},
    {"interior", interior},
    {"interior_then_reuse", interior_then_reuse},
    {"interior_at_an_arenas_end", interior_at_an_arenas_end},
    {"write_to_books", write_to_books},
    {"own_metadata", own_metadata},
    {"never_given_out", never_given_out},
    {"foreign_static", foreign_static},
    {"foreign_stack", foreign_stack},
    {"foreign_mapping", foreign_mapping},
    {"foreign_number", foreign_number},
    {"foreign_block_of_glibc", foreign_block_of_glibc},
    {"neighbours", neighbours},
    {"nothing", nothing},
};

int main(int argc, char **argv) {
    CHECK(argc == 4, "usage: misuse KIND SIZE OFFSET");
    prove_who_is_in_charge();
    for (size_t i = 0; i < LENGTH(kinds); i++)
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            kinds[i].strike(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
            return 0;
        }
    CHECK(0, "no kind is named %s", argv[1]);
}
