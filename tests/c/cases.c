/* main of every program made of cases: `PROGRAM --list`, `PROGRAM CASE…`, or all of them.
 * Compiled as C and as C++. */
#include "check.h"

static struct test_case *first, **last = &first;

void add_case(struct test_case *test_case) {
    *last = test_case;
    last = &test_case->next;
}

static void run(struct test_case *test_case) {
    test_case->run();
    say(1, "ok %s\n", test_case->name);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (struct test_case *one = first; one; one = one->next) say(1, "%s\n", one->name);
        return 0;
    }
    prove_who_is_in_charge();
    if (argc == 1)
        for (struct test_case *one = first; one; one = one->next) run(one);
    for (int i = 1; i < argc; i++) {
        struct test_case *one = first;
        while (one && strcmp(one->name, argv[i]) != 0) one = one->next;
        CHECK(one, "no case is named %s", argv[i]);
        run(one);
    }
    return 0;
}
