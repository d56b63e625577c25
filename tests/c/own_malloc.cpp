// An executable that brings malloc, calloc, realloc and free of its own, and checks that every block
// it is asked to free is one of its blocks. Under our library it must run as without it.
#include <atomic>
#include <dlfcn.h>
#include <errno.h>
#include <map>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

struct header {
    size_t size, magic;
};
static const size_t MAGIC = 0x6f776e6d616c6c6f;
static std::atomic<size_t> given, taken, at;
static char *const room = (char *)mmap(nullptr, 1 << 28, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
static char early[1 << 20] __attribute__((aligned(16)));
static std::atomic<size_t> early_at;

static void fail(const char *what) {
    if (write(2, what, strlen(what)) < 0) _exit(3);
    _exit(1);
}
static header *header_of(void *p) {
    header *head = (header *)p - 1;
    if (head->magic != MAGIC) fail("FAILED: a block that is not the executable's own\n");
    return head;
}
static bool is_own(void *p) { return ((header *)p - 1)->magic == MAGIC; }

// The declarations in stdlib.h name no exceptions; ours are the same functions.
extern "C" {
void *malloc(size_t n) noexcept {
    size_t bytes = (n + sizeof(header) + 15) & ~(size_t)15;
    char *p = room ? room + at.fetch_add(bytes) : early + early_at.fetch_add(bytes);
    if (room ? at > (1 << 28) : early_at > sizeof early) fail("FAILED: out of room\n");
    header *head = (header *)p;
    head->size = n, head->magic = MAGIC;
    given++;
    return head + 1;
}
void free(void *p) noexcept {
    if (!p) return;
    header_of(p)->size = 0;
    taken++;
}
void *calloc(size_t a, size_t b) noexcept {
    void *p = malloc(a * b);
    return memset(p, 0, a * b);
}
void *realloc(void *old, size_t n) noexcept {
    void *p = malloc(n);
    if (old) memcpy(p, old, header_of(old)->size < n ? header_of(old)->size : n), free(old);
    return p;
}
}

static void use_the_c_library() {
    char *copy = strdup("some words"), *text = nullptr, *line = nullptr;
    size_t size = 0;
    if (asprintf(&text, "%s %d", copy, 5) < 0 || !is_own(copy) || !is_own(text)) fail("FAILED: strdup or asprintf\n");
    FILE *file = fopen("/proc/self/maps", "r");
    while (getline(&line, &size, file) > 0) continue;
    fclose(file);
    if (!is_own(line)) fail("FAILED: getline\n");
    free(copy), free(text), free(line);
    free(realpath("/", nullptr));
}
static void use_the_cxx_library() {
    std::map<int, std::string> map;
    for (int i = 0; i < 1000; i++) map[i] = std::string((size_t)i % 100, 'x');
    int *one = new int(5), *many = new int[100];
    if (!is_own(one) || !is_own(many)) fail("FAILED: operator new does not use the executable's malloc\n");
    delete one, delete[] many;
    free(operator new(10)); // legal here: new is malloc, and both are the executable's
    try {
        throw std::string("thrown");
    } catch (const std::string &) {
    }
}

int main() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back([] { use_the_c_library(), use_the_cxx_library(); });
    for (auto &thread : threads) thread.join();
    const char *arm = getenv("TEST_ARM");
    if (arm && !dlsym(RTLD_DEFAULT, "pymalloc_is_in_charge")) fail("FAILED: our library is not loaded\n");
    if (given < 4000 || taken < 4000) fail("FAILED: the executable's malloc was not used\n");
    puts("ok");
    return 0;
}
