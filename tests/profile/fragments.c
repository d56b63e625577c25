/* Many short-lived blocks and, among them, a few that stay: they keep nearly all slots. */
#include <stdlib.h>
#include <string.h>

enum { REQUESTS = 200000, EVERY = 150 };

static void *requests[REQUESTS];
static void *sessions[REQUESTS / EVERY + 1];

static void *handle_request(void) {
    return malloc(100); /* REQUEST */
}

static void *keep_session(void) {
    return malloc(110); /* SESSION */
}

int main(void) {
    int kept = 0;
    for (int i = 0; i < REQUESTS; i++) {
        requests[i] = handle_request();
        memset(requests[i], 1, 100);
        if (i % EVERY == 0)
            sessions[kept++] = keep_session();
    }
    for (int i = 0; i < REQUESTS; i++)
        free(requests[i]);
    return sessions[0] == NULL;
}
