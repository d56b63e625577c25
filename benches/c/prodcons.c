// What does a block cost that another thread frees? As many consumers as producers, a bounded ring each.
#include "common.h"

enum { PARCEL = 64, RING = 32 };

struct ring {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long in, out;
    char *parcels[RING][PARCEL];
};

static struct ring rings[64];
static long n_parcels;

static void *produce(void *argument) {
    struct ring *ring = argument;
    uint64_t state = seed(ring - rings + 1);
    for (long n = 0; n < n_parcels; n++) {
        char *parcel[PARCEL];
        for (int i = 0; i < PARCEL; i++)
            parcel[i] = block_of(request(&state));
        pthread_mutex_lock(&ring->lock);
        while (ring->in - ring->out == RING)
            pthread_cond_wait(&ring->changed, &ring->lock);
        for (int i = 0; i < PARCEL; i++)
            ring->parcels[ring->in % RING][i] = parcel[i];
        ring->in++;
        pthread_cond_signal(&ring->changed);
        pthread_mutex_unlock(&ring->lock);
    }
    return NULL;
}

static void *consume(void *argument) {
    struct ring *ring = argument;
    for (long n = 0; n < n_parcels; n++) {
        char *parcel[PARCEL];
        pthread_mutex_lock(&ring->lock);
        while (ring->in == ring->out)
            pthread_cond_wait(&ring->changed, &ring->lock);
        for (int i = 0; i < PARCEL; i++)
            parcel[i] = ring->parcels[ring->out % RING][i];
        ring->out++;
        pthread_cond_signal(&ring->changed);
        pthread_mutex_unlock(&ring->lock);
        for (int i = 0; i < PARCEL; i++)
            free(parcel[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads, operations;
    pthread_t producers[64], consumers[64];
    arguments(argc, argv, &threads, &operations);
    n_parcels = operations / PARCEL;
    for (long i = 0; i < threads; i++) {
        pthread_mutex_init(&rings[i].lock, NULL);
        pthread_cond_init(&rings[i].changed, NULL);
        start(&producers[i], produce, &rings[i]);
        start(&consumers[i], consume, &rings[i]);
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(producers[i], NULL);
        pthread_join(consumers[i], NULL);
    }
    return 0;
}
