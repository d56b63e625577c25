// What does a block cost that any thread may free? Threads leave parcels in shared boxes, and empty what they find there.
#include "common.h"
#include <stdatomic.h>

enum { PARCEL = 64, BOXES = 64 };
static _Atomic(char **) boxes[BOXES];
static long n_parcels;

static void empty(char **parcel) {
    if (!parcel)
        return;
    for (int i = 0; i < PARCEL; i++)
        free(parcel[i]);
    free(parcel);
}

static void *work(void *argument) {
    uint64_t state = seed((uintptr_t)argument);
    for (long n = 0; n < n_parcels; n++) {
        char **parcel = (char **)block_of(sizeof(char *) * PARCEL);
        for (int i = 0; i < PARCEL; i++)
            parcel[i] = block_of(request(&state));
        empty(atomic_exchange(&boxes[next_random(&state) % BOXES], parcel));
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads, operations;
    arguments(argc, argv, &threads, &operations);
    n_parcels = operations / PARCEL;
    run_in_threads(threads, work);
    for (int k = 0; k < BOXES; k++)
        empty(atomic_exchange(&boxes[k], NULL));
    return 0;
}
