// Prints the path of the object that owns malloc in this process, and checks that a block can be used.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    Dl_info info;
    char *volatile block = malloc(100);
    if (!block || !dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) || !info.dli_fname)
        return 1;
    block[99] = 1;
    free(block);
    puts(info.dli_fname);
    return 0;
}
