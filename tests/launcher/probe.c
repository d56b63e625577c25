/* A program that ends, and listens, in every way the launcher must pass on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Prints what it inherited: ignored signals, blocked signals. */
static int inherited(void) {
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int signal = 1; signal < 32; signal++) {
        struct sigaction action;
        if (sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            printf("ignored %d\n", signal);
        if (sigismember(&mask, signal) == 1) printf("blocked %d\n", signal);
    }
    return 0;
}

/* Prints each signal that arrives; SIGTERM ends it with status 7. */
static int listen(void) {
    int signal = 0;
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGTSTP);
    sigprocmask(SIG_SETMASK, &all, NULL);
    puts("ready");
    while (signal != SIGTERM) {
        fflush(stdout);
        sigwait(&all, &signal);
        printf("got %d\n", signal);
    }
    return 7;
}

/* A child ends in the ordinary way, the program itself does not. */
static int descendant(void) {
    if (fork() == 0) exit(0);
    wait(NULL);
    _exit(0);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    int number = count > 2 ? atoi(words[2]) : 0;
    if (strcmp(what, "exit") == 0) return number;
    if (strcmp(what, "_exit") == 0) _exit(number);
    if (strcmp(what, "raise") == 0) return raise(number);
    if (strcmp(what, "inherited") == 0) return inherited();
    if (strcmp(what, "listen") == 0) return listen();
    if (strcmp(what, "descendant") == 0) return descendant();
    return 100;
}

#ifdef OWN_MALLOC
static char store[1 << 20];
static size_t used;
void *malloc(size_t size) {
    size_t at = used;
    used += (size + 15) & ~(size_t)15;
    return used <= sizeof store ? store + at : NULL;
}
void free(void *block) { (void)block; }
#endif
