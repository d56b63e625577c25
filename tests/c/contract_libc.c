/* libc beside malloc: results that the caller must free, and the calls that report and tune. */
#include "check.h"
#include <argz.h>
#include <dirent.h>
#include <glob.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <regex.h>
#include <search.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <wchar.h>
#include <wordexp.h>

CASE(strings_made_by_libc_are_freeable) {
    for (int i = 0; i < 200; i++) {
        char *text = NULL, *copy = strdup("a string"), *part = strndup("another string", 7);
        CHECK(asprintf(&text, "%d %s %0*d", i, copy, i + 1, 7) > 0, "asprintf");
        wchar_t *wide = wcsdup(L"wide");
        CHECK(strcmp(part, "another") == 0 && wcscmp(wide, L"wide") == 0, "strndup or wcsdup");
        CHECK(malloc_usable_size(text) > strlen(text) && malloc_usable_size(copy) >= 9, "usable size of libc's strings");
        text = (char *)realloc(text, 5000);
        free(text), free(copy), free(part), free(wide);
    }
    char *argz = NULL;
    size_t length = 0;
    CHECK(argz_add(&argz, &length, "one") == 0 && argz_add(&argz, &length, "two") == 0 && length == 8, "argz");
    free(argz);
}

CASE(streams_and_lines_made_by_libc_are_freeable) {
    char *text = NULL, *line = NULL;
    size_t size = 0, room = 0, lines = 0;
    FILE *stream = open_memstream(&text, &size);
    for (int i = 0; i < 3000; i++) fprintf(stream, "line %d of some words\n", i);
    fclose(stream);
    stream = fmemopen(text, size, "r");
    while (getline(&line, &room, stream) > 0) lines++;
    CHECK(lines == 3000, "getline saw %zu lines", lines);
    rewind(stream);
    CHECK(getdelim(&line, &room, 'w', stream) > 0, "getdelim");
    fclose(stream);
    free(line), free(text);
    wchar_t *wide = NULL;
    stream = open_wmemstream(&wide, &size);
    fwprintf(stream, L"%d", 12345);
    fclose(stream);
    CHECK(size == 5, "open_wmemstream wrote %zu", size);
    free(wide);
    char *matched = NULL;
    CHECK(sscanf("some words", "%ms", &matched) == 1 && strcmp(matched, "some") == 0, "sscanf %%ms");
    free(matched);
}

CASE(paths_and_directories_made_by_libc_are_freeable) {
    char *path = realpath("/proc/self/..", NULL), *here = getcwd(NULL, 0), *name = get_current_dir_name();
    CHECK(path && strcmp(path, "/proc") == 0 && here && name, "realpath, getcwd or get_current_dir_name");
    free(path), free(here), free(name);
    struct dirent **entries = NULL;
    int count = scandir("/etc", &entries, NULL, alphasort);
    CHECK(count > 2, "scandir sees %d entries", count);
    while (count--) free(entries[count]);
    free(entries);
    glob_t found = {0};
    CHECK(glob("/etc/*", 0, NULL, &found) == 0 && found.gl_pathc > 1, "glob");
    globfree(&found);
    wordexp_t words = {0};
    CHECK(wordexp("a b $HOME /etc/h*", &words, WRDE_NOCMD) == 0 && words.we_wordc >= 3, "wordexp");
    wordfree(&words);
    DIR *dir = opendir("/etc");
    CHECK(dir && readdir(dir), "opendir");
    closedir(dir);
}

static int by_address(const void *a, const void *b) { return a < b ? -1 : a > b; }

CASE(tables_and_locales_made_by_libc_are_freeable) {
    struct addrinfo hint = {0}, *info = NULL;
    hint.ai_flags = AI_NUMERICHOST;
    CHECK(getaddrinfo("127.0.0.1", "80", &hint, &info) == 0 && info, "getaddrinfo");
    freeaddrinfo(info);
    regex_t regex;
    CHECK(regcomp(&regex, "^(a|b)*c[0-9]{2,5}$", REG_EXTENDED) == 0, "regcomp");
    CHECK(regexec(&regex, "ababc123", 0, NULL, 0) == 0, "regexec");
    regfree(&regex);
    locale_t locale = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    if (locale) freelocale(locale);
    setlocale(LC_ALL, "C.UTF-8"), setlocale(LC_ALL, "C");
    iconv_t conversion = iconv_open("UTF-16", "UTF-8");
    if (conversion != (iconv_t)-1) iconv_close(conversion);
    void *root = NULL;
    for (size_t i = 1; i < 500; i++) tsearch((void *)(i * 7919 % 512), &root, by_address);
    while (root) tdelete(*(void **)root, &root, by_address);
    CHECK(hcreate(100), "hcreate");
    hdestroy();
    char large[40000];
    FILE *null = fopen("/dev/null", "w");
    CHECK(null && setvbuf(null, NULL, _IOFBF, 100000) == 0, "fopen");
    CHECK(fwrite(large, sizeof large, 1, null) == 1, "fwrite");
    fclose(null);
    CHECK(setenv("CONTRACT_VARIABLE", "some value", 1) == 0 && unsetenv("CONTRACT_VARIABLE") == 0, "setenv");
}

/* mallinfo2 is wide enough; the older mallinfo says the same in ints. */
CASE(mallinfo_follows_what_is_in_use) {
    HAVE(struct mallinfo2(*)(void), info, "mallinfo2");
    struct mallinfo2 before = info();
    void *small[20000], *large[4];
    for (size_t i = 0; i < LENGTH(small); i++) small[i] = malloc(256);
    for (size_t i = 0; i < LENGTH(large); i++) large[i] = malloc(3 * MIB);
    struct mallinfo2 during = info();
    struct mallinfo old = mallinfo();
    size_t grown = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
    /* less what a list of free blocks held before, which may count as in use */
    CHECK(grown >= 20000 * 256 + 12 * MIB - 256 * KIB && grown < 40 * MIB, "17 MB in use raise uordblks + hblkhd by %zu", grown);
    CHECK(during.arena + during.hblkhd >= during.uordblks, "arena %zu + hblkhd %zu < uordblks %zu", during.arena, during.hblkhd, during.uordblks);
    ptrdiff_t apart = (ptrdiff_t)old.uordblks + old.hblkhd - (ptrdiff_t)(during.uordblks + during.hblkhd);
    CHECK(apart > -100000 && apart < 100000, "mallinfo and mallinfo2 differ by %zd", apart);
    for (size_t i = 0; i < LENGTH(small); i++) free(small[i]);
    for (size_t i = 0; i < LENGTH(large); i++) free(large[i]);
    /* where freed blocks wait before they are used again, they count as in use */
    if (guarded()) malloc_trim(0);
    struct mallinfo2 after = info();
    CHECK(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + 2 * MIB, "after frees %zu bytes are still in use",
          after.uordblks + after.hblkhd);
}

CASE(malloc_trim_gives_memory_back) {
    int answer = malloc_trim(0);
    CHECK(answer == 0 || answer == 1, "malloc_trim answers %d", answer);
    static void *blocks[500000];
    size_t before = resident();
    for (size_t i = 0; i < LENGTH(blocks); i++) memset(blocks[i] = malloc(100), 1, 100);
    size_t full = resident();
    CHECK(full - before > 45 * MIB, "50 MB of blocks make %zu KiB resident", (full - before) / KIB);
    for (size_t i = 0; i < LENGTH(blocks); i++) free(blocks[i]);
    answer = malloc_trim(0);
    CHECK(answer == 0 || answer == 1, "malloc_trim answers %d", answer);
    CHECK(resident() < before + 12 * MIB, "after free and malloc_trim %zu KiB more than before", (resident() - before) / KIB);
    malloc_trim(MIB), malloc_trim(SIZE_MAX);
    workout(9, "malloc_trim");
}

CASE(mallopt_takes_what_programs_set) {
    CHECK(mallopt(M_ARENA_MAX, 2) == 1, "mallopt(M_ARENA_MAX, 2) is refused");
    CHECK(mallopt(M_TRIM_THRESHOLD, 256 * 1024) == 1, "mallopt(M_TRIM_THRESHOLD) is refused");
    CHECK(mallopt(M_MMAP_THRESHOLD, 128 * 1024) == 1, "mallopt(M_MMAP_THRESHOLD) is refused");
    CHECK(mallopt(M_TOP_PAD, 64 * 1024) == 1 && mallopt(M_MMAP_MAX, 65536) == 1, "mallopt(M_TOP_PAD or M_MMAP_MAX) is refused");
    int answer = mallopt(-12345, 7);
    CHECK(answer == 0 || answer == 1, "mallopt of an unknown parameter answers %d", answer);
    workout(11, "mallopt");
}

static size_t what_malloc_info_writes(char *text, size_t room) {
    int memory = memfd_create("malloc_info", 0);
    FILE *stream = fdopen(memory, "w+");
    CHECK(stream && malloc_info(0, stream) == 0, "malloc_info(0) fails: %m");
    fflush(stream);
    rewind(stream);
    size_t length = fread(text, 1, room - 1, stream);
    text[length] = 0;
    fclose(stream);
    return length;
}

CASE(malloc_info_is_one_xml_element) {
    static char text[1 << 20];
    size_t length = what_malloc_info_writes(text, sizeof text);
    CHECK(length > 20 && strncmp(text, "<malloc version=", 16) == 0, "malloc_info starts \"%.40s\"", text);
    CHECK(strstr(text, "</malloc>") && strlen(strstr(text, "</malloc>")) <= 10, "malloc_info does not end in </malloc>");
    CHECK(malloc_info(1, stderr) != 0, "malloc_info with options 1 succeeds");
    CHECK(malloc_info(-1, NULL) != 0, "malloc_info with options -1 succeeds");
}

CASE(malloc_stats_writes_to_stderr) {
    int memory = memfd_create("malloc_stats", 0), real = dup(2);
    dup2(memory, 2);
    malloc_stats();
    fflush(stderr);
    dup2(real, 2);
    CHECK(lseek(memory, 0, SEEK_END) > 20, "malloc_stats writes nothing");
    close(memory), close(real);
}

CASE(the_libc_aliases_work_like_the_originals) {
    HAVE(void *(*)(size_t), malloc_, "__libc_malloc");
    HAVE(void *(*)(size_t, size_t), calloc_, "__libc_calloc");
    HAVE(void *(*)(void *, size_t), realloc_, "__libc_realloc");
    HAVE(void (*)(void *), free_, "__libc_free");
    HAVE(void *(*)(size_t, size_t), memalign_, "__libc_memalign");
    for (size_t n = 0; n < 2 * MIB; n = n * 2 + 1) {
        char *p = (char *)malloc_(n), *q = (char *)calloc_(n, 1), *r = (char *)memalign_(128, n);
        check_zero(q, n, "__libc_calloc");
        check_aligned(r, 128, n, "__libc_memalign");
        fill(p, n, n), fill(r, n, n);
        p = (char *)realloc_(p, n + 100), r = (char *)realloc(r, n + 100);
        verify(p, 0, n, "__libc_realloc"), verify_prefix(p, n < 8 ? 0 : n, n + 100, n, "__libc_realloc");
        free(p), free_(q), free_(r);
    }
    HAVE(void *(*)(size_t), valloc_, "__libc_valloc");
    HAVE(void *(*)(size_t), pvalloc_, "__libc_pvalloc");
    HAVE(int (*)(void **, size_t, size_t), posix_memalign_, "__posix_memalign");
    HAVE(void (*)(void *), cfree_, "__libc_cfree");
    HAVE(void (*)(void *), old_cfree_, "cfree");
    void *p = NULL;
    CHECK(posix_memalign_(&p, 4096, 10) == 0, "__posix_memalign");
    cfree_(p), old_cfree_(valloc_(1)), old_cfree_(pvalloc_(1));
}
