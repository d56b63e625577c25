/* Two threads that leak a little and allocate much for a moment, in blocks of the same size. */
#include <pthread.h>
#include <stdlib.h>

#define ROUNDS 100000

static void *volatile sink;

static void leak_small(void) {
    sink = malloc(48); /* SMALL */
}

static void leak_large(void) {
    sink = malloc(3000); /* LARGE */
}

static void leak_cleared(void) {
    sink = calloc(1, 900); /* CLEARED */
}

static void churn(void) {
    for (int i = 0; i < 10; i++) {
        void *p = malloc(48); /* CHURN */
        sink = p;
        free(p);
    }
    void *p = calloc(300, 1000); /* HUGE */
    sink = p;
    free(p);
    p = realloc(NULL, 100);
    p = realloc(p, 400000);
    p = realloc(p, 900000);
    sink = p;
    free(p);
}

static void *work(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        leak_small();
        if (i % 10 == 0)
            leak_large(), leak_cleared();
        churn();
    }
    return unused;
}

int main(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
