/* Loaded behind the library by LD_PRELOAD, into every process of a case: says, in each, who owns malloc.
 *
 * One line per executed program is appended to the file named by RP_WITNESS:
 *     PROGRAM in-charge              the marker answers and `malloc` goes to the library
 *     PROGRAM no-marker              nobody exports the marker symbol
 *     PROGRAM passive                the marker exists and says that malloc is not the library's
 *     PROGRAM malloc-in:OBJECT       a call of `malloc` goes to OBJECT, which is not the library
 * It allocates one block first, so that a library that decides at its first call has decided, and writes
 * with plain system calls, so that it adds nothing to what the library sees.
 *
 * With -DPROVE it is a program that prints its own line and succeeds when that says in-charge. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where a call of malloc goes, read from our own jump slot. dlsym(RTLD_DEFAULT, "malloc") does not tell: in
 * an executable that is not position-independent and takes malloc's address (Debian's python3.11), it
 * gives the executable's PLT entry, which stands for every definition. */
static void *malloc_called(void)
{
    Dl_info self;
    if (!dladdr(_DYNAMIC, &self))
        return NULL;
    char *base = self.dli_fbase;
    ElfW(Addr) symbols = 0, strings = 0, relocations = 0;
    size_t bytes = 0;
    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
        ElfW(Addr) value = entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_SYMTAB: symbols = value; break;
        case DT_STRTAB: strings = value; break;
        case DT_JMPREL: relocations = value; break;
        case DT_PLTRELSZ: bytes = entry->d_un.d_val; break;
        }
    }
    if (symbols < (ElfW(Addr))base) { /* not relocated in place: this depends on the C library */
        symbols += (ElfW(Addr))base;
        strings += (ElfW(Addr))base;
        relocations += (ElfW(Addr))base;
    }
    const ElfW(Rela) *slot = (const ElfW(Rela) *)relocations;
    for (size_t n = 0; n < bytes / sizeof *slot; n++) {
        const ElfW(Sym) *symbol = (const ElfW(Sym) *)symbols + ELF64_R_SYM(slot[n].r_info);
        if (!strcmp((const char *)strings + symbol->st_name, "malloc"))
            return *(void **)(base + slot[n].r_offset);
    }
    return NULL;
}

static int testimony(char *line, size_t size)
{
    const char *marker = getenv("RP_MARKER");
    const char *library = getenv("RP_LIB_NAME");
    char program[512];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    const char *name = base_name(program);

    void *block = malloc(40); /* also binds the slot, where binding is lazy */
    if (block)
        memset(block, 1, 40);
    free(block);

    void *answer = marker ? dlsym(RTLD_DEFAULT, marker) : NULL;
    if (!answer || !library)
        return snprintf(line, size, "%s no-marker\n", name);
    /* Any other marker belongs to a stand-in; its presence is all that can be asked of it. */
    if (!strcmp(marker, "pymalloc_is_in_charge") && ((int (*)(void))answer)() != 1)
        return snprintf(line, size, "%s passive\n", name);
    Dl_info owner;
    void *called = malloc_called();
    if (!called || !dladdr(called, &owner))
        return snprintf(line, size, "%s malloc-in:nowhere\n", name);
    if (strcmp(base_name(owner.dli_fname), library))
        return snprintf(line, size, "%s malloc-in:%s\n", name, base_name(owner.dli_fname));
    return snprintf(line, size, "%s in-charge\n", name);
}

#ifdef PROVE
int main(void)
{
    char line[1024];
    testimony(line, sizeof line);
    fputs(line, stdout);
    return strstr(line, " in-charge\n") ? 0 : 1;
}
#else
__attribute__((constructor)) static void testify(void)
{
    const char *path = getenv("RP_WITNESS");
    if (!path)
        return;
    char line[1024];
    int length = testimony(line, sizeof line);
    int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0)
        return;
    if (write(file, line, length) < 0) { /* the runner misses the line and says so */ }
    close(file);
}
#endif
