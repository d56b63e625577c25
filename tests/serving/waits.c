/* A program that is asked while it runs: leaks, says "ready", obeys one word a line, ends when its input does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile lost;
static volatile int storm_ends;

/* How many descriptors this process has. */
static int open_files(void) {
    int files = 0;
    for (int file = 0; file < 1024; file++)
        files += fcntl(file, F_GETFD) != -1;
    return files;
}

static void leak_here(void) {
    lost = malloc(1000); /* LEAK */
}

static void *allocate(void *unused) {
    void *blocks[64] = {0};
    for (unsigned i = 0; !storm_ends; i++) {
        void **place = &blocks[i % 64];
        free(*place);
        *place = malloc(16 + i * 37 % 5000);
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    return unused;
}

/* Forks, and opens and closes a library, beside two threads that allocate. */
static void storm(void) {
    pthread_t threads[2];
    storm_ends = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        if (child == 0) {
            free(malloc(100 + i));
            _exit(0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        if (status != 0)
            exit(3);
        void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
        if (library)
            dlclose(library);
    }
    storm_ends = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void *end_alone(void *unused) {
    return unused;
}

int main(int n, char **words) {
    int leaks = n > 1 ? atoi(words[1]) : 0;
    for (int i = 0; i < leaks; i++)
        leak_here();
    printf("ready\n");
    fflush(stdout);
    char line[100];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "fork")) {
            /* The child outlives its parent, with all that it inherited. */
            pid_t child = fork();
            if (child == 0) {
                free(malloc(100));
                sleep(30);
                _exit(0);
            }
            printf("%d\n", child);
        } else if (!strcmp(line, "close")) {
            for (int file = 3; file < 1024; file++)
                close(file);
            printf("%d\n", open_files());
        } else if (!strcmp(line, "files")) {
            printf("%d\n", open_files());
        } else if (!strcmp(line, "run")) {
            fflush(stdout);
            int status = system("/bin/echo run");
            printf("%d\n", status);
        } else if (!strcmp(line, "storm")) {
            storm();
            printf("calm\n");
        } else if (!strcmp(line, "folder")) {
            printf("%d\n", chdir("/"));
        } else if (!strcmp(line, "end threads")) {
            pthread_t thread;
            pthread_create(&thread, NULL, end_alone, NULL);
            pthread_join(thread, NULL);
            pthread_exit(NULL);
        }
        fflush(stdout);
    }
    return 0;
}
