// Memory after everything has ended: atexit handlers, destructors of statics, of the executable and
// of a shared object (-DSHARED) that is preloaded on either side of ours. Each says `ok` once.
#include "check.h"

#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {
void *kept[500];

void keep() {
    for (size_t i = 0; i < LENGTH(kept); i++) fill(kept[i] = malloc(i * 7 + 8), i * 7 + 8, i);
    free(kept[100]), kept[100] = nullptr;
}
void let_go(const char *who) {
    for (size_t i = 0; i < LENGTH(kept); i++) {
        if (kept[i]) verify(kept[i], i * 7 + 8, i, who);
        free(kept[i]);
        kept[i] = nullptr;
    }
    for (int round = 0; round < 3; round++) {
        workout(1, who);
        malloc_trim(0);
    }
    std::map<int, std::string> map;
    for (int i = 0; i < 500; i++) map[i] = std::string((size_t)i, 'm');
    say(1, "ok %s\n", who);
}
} // namespace

#ifdef SHARED
__attribute__((constructor(101))) static void start() {
    keep();
    atexit([] { say(1, "ok atexit of a shared object\n"), free(malloc(10)); });
}
__attribute__((destructor(101))) static void finish() { let_go("the destructor of a shared object"); }
#else
__attribute__((destructor(101))) static void finish() { let_go("the destructor of the executable"); }
static void at_exit() { workout(2, "atexit"), say(1, "ok atexit\n"); }
static void on_exit_too(int, void *block) { free(block), workout(3, "on_exit"), say(1, "ok on_exit\n"); }

// Filled by threads that end before it does.
struct last_static {
    std::vector<std::string *> of_threads;
    ~last_static() {
        for (std::string *text : of_threads) {
            CHECK(*text == std::string(text->size(), 't'), "a block of an ended thread changed");
            delete text;
        }
        workout(4, "a static's destructor");
        say(1, "ok a static's destructor\n");
    }
};
static last_static last;

int main() {
    prove_who_is_in_charge();
    keep();
    atexit(at_exit);
    on_exit(on_exit_too, malloc(1000));
    for (size_t i = 0; i < 20; i++)
        std::thread([i] { last.of_threads.push_back(new std::string(i * 100 + 20, 't')); }).join();
    std::thread([] {
        for (;;) free(malloc(100)), std::this_thread::yield();
    }).detach();
    puts("stdout is flushed at the end");
    return 0;
}
#endif
