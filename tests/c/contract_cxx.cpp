// The 20 operators new and delete, the new-handler, and the C++ library on top of them.
#include "check.h"

#include <future>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using align_t = std::align_val_t;

static void *checked(void *p, size_t size, size_t align, const char *who) {
    CHECK(p, "%s of %zu bytes: null", who, size);
    check_aligned(p, align < 16 ? 16 : align, size, who);
    CHECK(malloc_usable_size(p) >= size, "%s of %zu bytes: usable size %zu", who, size, malloc_usable_size(p));
    fill(p, size, size);
    return p;
}

// Each of the eight forms of new with each delete that may end it: all 20 operators.
CASE(all_twenty_operators_pair_up) {
    for (size_t n = 0; n < 3 * MIB; n += n < 600 ? 1 : n / 3) {
        void *p[20];
        for (int i = 0; i < 20; i++) {
            const char *who = i % 4 == 0 ? "new" : i % 4 == 1 ? "new[]" : i % 4 == 2 ? "new nothrow" : "new[] nothrow";
            void *made = i % 4 == 0   ? ::operator new(n)
                         : i % 4 == 1 ? ::operator new[](n)
                         : i % 4 == 2 ? ::operator new(n, std::nothrow)
                                      : ::operator new[](n, std::nothrow);
            p[i] = checked(made, n, 16, who);
        }
        for (int i = 0; i < 20; i++) verify(p[i], n, n, "operators new");
        ::operator delete(p[0]), ::operator delete[](p[1]);
        ::operator delete(p[2], std::nothrow), ::operator delete[](p[3], std::nothrow);
        ::operator delete(p[4], n), ::operator delete[](p[5], n);
        for (int i = 6; i < 20; i++) i % 2 ? ::operator delete[](p[i]) : ::operator delete(p[i], n);
    }
    workout(1, "operators new and delete");
}

CASE(all_aligned_operators_pair_up) {
    for (size_t align = 1; align <= 2 * MIB; align *= 2)
        for (size_t n = 0; n < 2 * MIB; n += n < 300 ? 37 : 2 * n) {
            align_t at{align};
            void *a = checked(::operator new(n, at), n, align, "new aligned");
            void *b = checked(::operator new[](n, at), n, align, "new[] aligned");
            void *c = checked(::operator new(n, at, std::nothrow), n, align, "new aligned nothrow");
            void *d = checked(::operator new[](n, at, std::nothrow), n, align, "new[] aligned nothrow");
            void *e = checked(::operator new(n, at), n, align, "new aligned");
            void *f = checked(::operator new[](n, at), n, align, "new[] aligned");
            for (void *p : {a, b, c, d, e, f}) verify(p, n, n, "aligned operators new");
            ::operator delete(a, at), ::operator delete[](b, at);
            ::operator delete(c, at, std::nothrow), ::operator delete[](d, at, std::nothrow);
            ::operator delete(e, n, at), ::operator delete[](f, n, at);
        }
    workout(2, "aligned operators new and delete");
}

CASE(delete_of_null_and_errno) {
    errno = 77;
    ::operator delete(nullptr), ::operator delete[](nullptr);
    ::operator delete(nullptr, 8), ::operator delete[](nullptr, 8);
    ::operator delete(nullptr, std::nothrow), ::operator delete[](nullptr, std::nothrow);
    ::operator delete(nullptr, align_t{64}), ::operator delete[](nullptr, align_t{64});
    ::operator delete(nullptr, 8, align_t{64}), ::operator delete[](nullptr, 8, align_t{64});
    ::operator delete(nullptr, align_t{64}, std::nothrow), ::operator delete[](nullptr, align_t{64}, std::nothrow);
    CHECK(errno == 77, "delete of null sets errno to %d", errno);
    for (size_t n = 1; n < 20 * MIB; n = n * 3 + 1) {
        void *p = ::operator new(n), *q = ::operator new(n, align_t{128});
        errno = 77;
        ::operator delete(p, n), ::operator delete(q, n, align_t{128});
        CHECK(errno == 77, "delete of %zu bytes sets errno to %d", n, errno);
    }
}

static int handler_runs;
static void *reserve;

// The eight forms of new, by number; the odd ones are nothrow.
static void *make(int form, size_t n) {
    align_t at{64};
    switch (form) {
    case 0: return ::operator new(n);
    case 1: return ::operator new(n, std::nothrow);
    case 2: return ::operator new[](n);
    case 3: return ::operator new[](n, std::nothrow);
    case 4: return ::operator new(n, at);
    case 5: return ::operator new(n, at, std::nothrow);
    case 6: return ::operator new[](n, at);
    default: return ::operator new[](n, at, std::nothrow);
    }
}
static bool throws_bad_alloc(int form, size_t n) {
    try {
        void *p = make(form, hide(n));
        CHECK(!p, "form %d of new gives %zu bytes: %p", form, n, p);
        return false;
    } catch (const std::bad_alloc &) {
        return true;
    }
}
static const size_t huge[] = {(size_t)1 << 47, (size_t)1 << 60, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 200};

CASE(new_throws_bad_alloc_or_returns_null) {
    for (size_t n : huge)
        for (int form = 0; form < 8; form++) {
            std::string witness(1000, 'w');
            CHECK(throws_bad_alloc(form, n) == (form % 2 == 0), "form %d of new of %zu bytes %s", form, n,
                  form % 2 ? "throws" : "does not throw");
            CHECK(witness == std::string(1000, 'w'), "an unwound frame lost its string");
        }
    workout(3, "bad_alloc");
}

// libstdc++ 12 rounds the size of an aligned new up before it looks for overflow, and hands out a
// block of no bytes (gcc bug). Our operators must refuse before they let it try.
CASE(aligned_new_of_a_size_that_wraps_is_refused) {
    if (!ours()) return;
    for (size_t n : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 62})
        for (int form = 4; form < 8; form++)
            CHECK(throws_bad_alloc(form, n) == (form % 2 == 0), "form %d of new of %zu bytes does not fail", form, n);
}

CASE(the_new_handler_runs_until_it_gives_up) {
    for (int form = 0; form < 8; form++) {
        handler_runs = 0;
        std::set_new_handler([] {
            if (++handler_runs == 3) std::set_new_handler(nullptr);
        });
        CHECK(throws_bad_alloc(form, (size_t)1 << 60) == (form % 2 == 0), "form %d of new", form);
        CHECK(handler_runs == 3, "form %d of new runs the handler %d times, not 3", form, handler_runs);
    }
}

CASE(the_new_handlers_own_exception_passes_through) {
    struct out_of_room : std::bad_alloc {
        const char *what() const noexcept override { return "no room"; }
    };
    for (int form = 0; form < 8; form++) {
        handler_runs = 0;
        std::set_new_handler([] {
            handler_runs++;
            throw out_of_room();
        });
        std::string seen;
        try {
            void *p = make(form, hide((size_t)1 << 61));
            CHECK(!p && form % 2, "form %d of new returns", form);
        } catch (const std::bad_alloc &error) {
            seen = error.what();
        }
        CHECK(handler_runs == 1, "form %d of new runs the handler %d times, not once", form, handler_runs);
        CHECK(seen == (form % 2 ? "" : "no room"), "form %d of new throws \"%s\"", form, seen.c_str());
    }
    std::set_new_handler(nullptr);
}

#include <sys/resource.h>
// Memory is out for want of address space, the handler frees some, new goes on and succeeds.
CASE(the_new_handler_can_make_room) {
    rlimit before, tight;
    getrlimit(RLIMIT_AS, &before);
    reserve = ::operator new(512 * MIB);
    size_t pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(fscanf(statm, "%zu", &pages) == 1, "statm");
    fclose(statm);
    tight = before;
    tight.rlim_cur = pages * (size_t)sysconf(_SC_PAGESIZE) + 100 * MIB;
    setrlimit(RLIMIT_AS, &tight);
    handler_runs = 0;
    std::set_new_handler([] {
        handler_runs++;
        CHECK(handler_runs < 3, "the handler frees and is called again");
        ::operator delete(reserve);
        malloc_trim(0);
    });
    void *p = ::operator new(300 * MIB);
    CHECK(p && handler_runs == 1, "the handler ran %d times", handler_runs);
    fill(p, 300 * MIB, 4), verify(p, 300 * MIB, 4, "new after the handler made room");
    ::operator delete(p);
    std::set_new_handler(nullptr);
    setrlimit(RLIMIT_AS, &before);
}

CASE(a_class_with_aligned_members) {
    struct alignas(256) wide {
        char bytes[300];
    };
    std::vector<std::unique_ptr<wide>> several;
    for (int i = 0; i < 200; i++) {
        several.push_back(std::make_unique<wide>());
        check_aligned(several.back().get(), 256, sizeof(wide), "new wide");
    }
    wide *many = new wide[40];
    for (int i = 0; i < 40; i++) check_aligned(many + i, 256, sizeof(wide), "new wide[]");
    delete[] many;
    std::vector<wide> row(77);
    check_aligned(row.data(), 256, sizeof(wide), "vector<wide>");
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::map<int, std::pmr::string> texts(&pool);
    for (int i = 0; i < 2000; i++) texts.emplace(i, std::string((size_t)i % 90, 'p'));
    CHECK(texts.size() == 2000, "pmr::map");
}

CASE(containers_hold_what_was_put_in) {
    std::map<std::string, std::vector<int>> map;
    std::unordered_map<int, std::string> table;
    std::list<std::shared_ptr<std::string>> list;
    for (int i = 0; i < 20000; i++) {
        map[std::to_string(i % 500)].push_back(i);
        table[i] = std::string((size_t)i % 70, (char)('a' + i % 26));
        list.push_back(std::make_shared<std::string>(table[i]));
        if (i % 3 == 0) list.pop_front();
    }
    for (int i = 0; i < 20000; i++) CHECK(table[i] == std::string((size_t)i % 70, (char)('a' + i % 26)), "unordered_map[%d]", i);
    for (auto &[key, values] : map)
        for (int value : values) CHECK(std::to_string(value % 500) == key, "map[%s]", key.c_str());
    std::ostringstream out;
    for (int i = 0; i < 5000; i++) out << i << ' ' << i * 0.5 << '\n';
    std::istringstream in(out.str());
    double half;
    for (int i = 0, whole; i < 5000; i++) CHECK(in >> whole >> half && whole == i && half == i * 0.5, "stringstream at %d", i);
    CHECK(std::regex_search(std::string("the year 1984"), std::regex("[0-9]{4}")), "regex");
    std::cout << "iostream works" << std::endl;
}

static int deep(int depth, std::vector<std::string> &trail) {
    std::string local(100, (char)('a' + depth % 26));
    trail.push_back(local);
    if (depth == 0) throw std::runtime_error(std::string(5000, 'e'));
    return deep(depth - 1, trail) + (int)local.size();
}

CASE(exceptions_unwind_through_frames_that_own_memory) {
    auto storm = [] {
        for (int i = 0; i < 500; i++) {
            std::vector<std::string> trail;
            try {
                deep(i % 30, trail);
                CHECK(false, "nothing was thrown");
            } catch (const std::exception &error) {
                CHECK(std::string(error.what()).size() == 5000 && trail.size() == (size_t)i % 30 + 1, "exception %d", i);
            }
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; i++) threads.emplace_back(storm);
    for (auto &thread : threads) thread.join();
    auto far = std::async(std::launch::async, []() -> int { throw std::logic_error("from afar"); });
    try {
        far.get();
        CHECK(false, "the future does not throw");
    } catch (const std::logic_error &error) {
        CHECK(std::string(error.what()) == "from afar", "future");
    }
}

static std::atomic<int> goodbyes;
struct late {
    std::vector<std::string> words;
    std::unique_ptr<int[]> numbers{new int[500]};
    late() : words(100, std::string(50, 'x')) {}
    ~late() {
        std::map<int, std::string> last;
        for (int i = 0; i < 300; i++) last[i] = std::string((size_t)i, 'l');
        goodbyes += words.size() == 100 && last.size() == 300;
    }
};
static thread_local late of_each_thread;

CASE(thread_local_destructors_allocate) {
    std::vector<std::thread> threads;
    goodbyes = 0;
    for (int i = 0; i < 100; i++) threads.emplace_back([] { of_each_thread.words[0] += "y"; });
    for (auto &thread : threads) thread.join();
    CHECK(goodbyes == 100, "%d of 100 thread_local destructors ran well", (int)goodbyes);
}

// Made before main and before most other constructors; checked in main, ended after it.
struct early {
    std::string *text = new std::string(1000, 's');
    std::map<int, int> squares;
    early() {
        for (int i = 0; i < 1000; i++) squares[i] = i * i;
    }
    ~early() {
        CHECK(*text == std::string(1000, 's') && squares[31] == 961, "a static object changed before its end");
        delete text;
        delete[] new char[100000];
    }
};
__attribute__((init_priority(101))) static early first_of_all;
static early in_order;

CASE(statics_made_before_main_are_intact) {
    for (early *one : {&first_of_all, &in_order}) {
        CHECK(*one->text == std::string(1000, 's') && one->squares.size() == 1000, "a static object");
        one->text->append(10000, 't').resize(1000);
    }
}
