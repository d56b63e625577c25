// Prints which object serves each symbol, as the linker bound it here and as dlsym finds it.
#include <dlfcn.h>
#include <malloc.h>
#include <new>
#include <stdio.h>
#include <stdlib.h>

static void *volatile sink;

static void say(const char *name, void *bound) {
    Dl_info here = {}, found = {};
    void *by_name = dlsym(RTLD_DEFAULT, name);
    dladdr(bound, &here);
    dladdr(by_name, &found);
    printf("%s %s %s\n", name, here.dli_fname ? here.dli_fname : "-", found.dli_fname ? found.dli_fname : "-");
}

int main() {
    sink = new char[10];
    say("malloc", (void *)malloc);
    say("free", (void *)free);
    say("calloc", (void *)calloc);
    say("realloc", (void *)realloc);
    say("memalign", (void *)memalign);
    say("posix_memalign", (void *)posix_memalign);
    say("malloc_usable_size", (void *)malloc_usable_size);
    say("_Znwm", (void *)static_cast<void *(*)(size_t)>(::operator new));
    say("_ZdlPv", (void *)static_cast<void (*)(void *)>(::operator delete));
    return 0;
}
