/* A naive oracle: random programs of operations on blocks that know their own content. */
#include "check.h"

#define SLOTS 2048
struct slot {
    void *block;
    size_t size;
    uint64_t tag;
};
struct player {
    struct slot slots[SLOTS];
    uint64_t state;
    size_t operations;
    struct player *partners;
    size_t n_partners;
};

/* One size: mostly small, some medium, few huge, as programs do. */
static size_t random_size(uint64_t *state) {
    uint64_t dice = next_random(state) % 1000, r = next_random(state);
    if (dice < 800) return r % 513;
    if (dice < 960) return r % (8 * KIB);
    if (dice < 994) return r % (200 * KIB);
    if (dice < 999) return r % MIB;
    return r % (4 * MIB);
}

static void drop(struct slot *slot) {
    if (slot->block) verify(slot->block, slot->size, slot->tag, "free in the oracle");
    free(slot->block);
    slot->block = NULL;
}

static void *make(struct player *player, size_t size) {
    uint64_t dice = next_random(&player->state);
    size_t align = (size_t)16 << (dice / 16 % (dice % 31 ? 4 : 13));
    void *p = dice % 8 == 0 ? calloc(size, 1) : dice % 8 == 1 ? memalign(align, size) : malloc(size);
    CHECK(p, "a block of %zu bytes: %m", size);
    check_aligned(p, dice % 8 == 1 ? align : 16, size, "the oracle's call");
    if (dice % 8 == 0) check_zero(p, size < 64 * KIB ? size : 64 * KIB, "calloc in the oracle");
    return p;
}

static void play(struct player *player) {
    struct slot *slot = &player->slots[next_random(&player->state) % SLOTS];
    size_t size = random_size(&player->state);
    if (slot->block && next_random(&player->state) % 4 == 0) {
        verify(slot->block, slot->size, slot->tag, "realloc in the oracle");
        void *p = realloc(slot->block, size + 1);
        CHECK(p, "realloc from %zu to %zu: %m", slot->size, size + 1);
        check_aligned(p, 16, size + 1, "realloc");
        verify_prefix(p, slot->size < size + 1 ? slot->size : size + 1, slot->size, slot->tag, "realloc in the oracle");
        slot->block = p, slot->size = size + 1;
    } else {
        drop(slot);
        slot->block = make(player, size);
        slot->size = size;
    }
    slot->tag = next_random(&player->state);
    fill(slot->block, slot->size, slot->tag);
}

static uint64_t seed(void) {
    const char *text = getenv("CONTRACT_SEED");
    uint64_t value = text ? strtoull(text, NULL, 0) : 20240607;
    say(1, "seed %lu (CONTRACT_SEED)\n", (unsigned long)value);
    return value;
}
static size_t operations(void) {
    const char *text = getenv("CONTRACT_OPERATIONS");
    return text ? strtoull(text, NULL, 0) : 1000000;
}

CASE(random_operations_of_one_thread) {
    static struct player player;
    player.state = seed();
    for (size_t i = operations(); i; i--) play(&player);
    for (size_t i = 0; i < SLOTS; i++) drop(&player.slots[i]);
    workout(12, "the oracle");
}

static pthread_barrier_t barrier;

/* Four rounds; after each, a player goes on with another's blocks. */
static void *play_in_rounds(void *argument) {
    struct player *player = (struct player *)argument;
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < player->operations / 4; i++) play(player);
        pthread_barrier_wait(&barrier);
        size_t me = (size_t)(player - player->partners);
        struct player *next = &player->partners[(me + 1) % player->n_partners];
        for (size_t i = me % 2; i < SLOTS; i += 2) drop(&next->slots[i]);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

CASE(random_operations_of_four_threads_that_free_for_each_other) {
    static struct player players[4];
    uint64_t first = seed();
    pthread_t threads[4];
    pthread_barrier_init(&barrier, NULL, 4);
    for (size_t i = 0; i < 4; i++) {
        players[i].state = mix(first + i), players[i].operations = operations() / 4;
        players[i].partners = players, players[i].n_partners = 4;
        CHECK(pthread_create(&threads[i], NULL, play_in_rounds, &players[i]) == 0, "pthread_create");
    }
    for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < SLOTS; k++) drop(&players[i].slots[k]);
    workout(13, "four oracles");
}

/* Producers hand every block to consumers, who check and free it: nothing is freed at home. */
#define QUEUE 1024
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot slots[QUEUE];
    size_t head, tail;
} queue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {{0}}, 0, 0};
#define HANDED ((size_t)100000)

static void *produce(void *argument) {
    uint64_t state = (uintptr_t)argument;
    for (size_t i = 0; i < HANDED; i++) {
        struct slot slot;
        slot.size = random_size(&state) % (64 * KIB), slot.tag = next_random(&state);
        slot.block = malloc(slot.size);
        CHECK(slot.block, "malloc(%zu): %m", slot.size);
        fill(slot.block, slot.size, slot.tag);
        pthread_mutex_lock(&queue.lock);
        while (queue.head - queue.tail == QUEUE) pthread_cond_wait(&queue.changed, &queue.lock);
        queue.slots[queue.head++ % QUEUE] = slot;
        if (queue.head - queue.tail == QUEUE / 2) pthread_cond_broadcast(&queue.changed);
        pthread_mutex_unlock(&queue.lock);
    }
    pthread_cond_broadcast(&queue.changed);
    return NULL;
}

static void *consume(void *argument) {
    for (size_t left = HANDED; left;) {
        struct slot taken[64];
        size_t n = 0;
        pthread_mutex_lock(&queue.lock);
        while (queue.head == queue.tail) {
            struct timespec soon;
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec = (soon.tv_nsec + 1000000) % 1000000000;
            pthread_cond_timedwait(&queue.changed, &queue.lock, &soon);
        }
        while (n < 64 && n < left && queue.head != queue.tail) taken[n++] = queue.slots[queue.tail++ % QUEUE];
        pthread_cond_broadcast(&queue.changed);
        pthread_mutex_unlock(&queue.lock);
        for (size_t i = 0; i < n; i++) drop(&taken[i]);
        left -= n;
    }
    return argument;
}

CASE(blocks_freed_only_by_other_threads) {
    pthread_t threads[4];
    size_t before = resident();
    for (uintptr_t i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, i % 2 ? consume : produce, (void *)i) == 0, "pthread_create");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    malloc_trim(0);
    CHECK(resident() < before + 64 * MIB, "blocks freed by other threads stay resident: %zu MiB", (resident() - before) / MIB);
    workout(14, "producers and consumers");
}
