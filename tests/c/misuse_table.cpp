/* The kinds of C++. */
#include "misuse_table.c"
