/* A leak, blocks kept for a while, blocks freed at once, and other ways to live, by the word given. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct node {
    struct node *next;
    char name[40];
};

static struct node *volatile lost;

static void leak_here(int i) {
    struct node *n = malloc(sizeof *n); /* LEAK */
    snprintf(n->name, sizeof n->name, "node %d", i);
    lost = n;
}

static char *volatile last;

static char *keep_here(int i) {
    char *p = malloc(1000 + i); /* KEEP */
    memset(p, i, 1000);
    return p;
}

static void free_at_once(void) {
    last = malloc(64); /* TEMPORARY */
    free(last);
}

static void grow(void) {
    char *p = NULL;
    for (int i = 1; i <= 10; i++)
        p = realloc(p, 100 * i);
    free(p);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    char *kept[100];
    for (int i = 0; i < 1000; i++) {
        leak_here(i);
        free_at_once();
    }
    for (int i = 0; i < 100; i++)
        kept[i] = keep_here(i);
    if (!strcmp(how, "fork")) {
        if (fork() == 0) {
            for (int i = 0; i < 50; i++)
                keep_here(i);
            exit(0);
        }
        wait(NULL);
    }
    for (int i = 0; i < 100; i++)
        free(kept[i]);
    grow();
    if (!strcmp(how, "raise"))
        raise(atoi(argv[2]));
    if (!strcmp(how, "_exit"))
        _exit(3);
    if (!strcmp(how, "close"))
        for (int file = 3; file < 1000; file++)
            close(file);
    if (!strcmp(how, "exec"))
        execl(argv[0], argv[0], "second", (char *)NULL);
    return 0;
}
