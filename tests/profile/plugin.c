/* A library that is opened and closed; what it makes has a stack through it. */
#include <stdlib.h>

static void *volatile made;

void *make(int depth) {
    made = depth > 0 ? make(depth - 1) : malloc(123);
    return made;
}

/* Calls back, from a frame of this library. */
void through(void (*callback)(void)) {
    callback();
    made = made;
}
