#!/usr/bin/env bash
# about: gdb --batch: symbols, a run with breakpoints and backtraces, Python inside gdb
# needs: gdb=gdb gcc=gcc
# proves: gdb program
. "$RP_DIR/case.sh"

# Names of its own: gdb also finds functions of the library.
cat >program.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { int value; char name[20]; struct node *next; };
static struct node *rp_push(struct node *head, int value)
{
    struct node *node = malloc(sizeof *node);
    node->value = value;
    snprintf(node->name, sizeof node->name, "node %d", value);
    node->next = head;
    return node;
}
static int rp_deep(struct node *head, int left) { return left ? rp_deep(head, left - 1) + 1 : head->value; }
int main(void)
{
    struct node *head = NULL;
    for (int n = 0; n < 5; n++)
        head = rp_push(head, n * n);
    int result = rp_deep(head, 30);
    while (head) { struct node *next = head->next; free(head); head = next; }
    printf("result %d\n", result);
    return 3;
}
C
gcc -g -O0 program.c -o program
cat >script <<'GDB'
set confirm off
set pagination off
set print address off
set disable-randomization on
set startup-with-shell off
set debuginfod enabled off
info line main
ptype struct node
break rp_push if value == 9
break rp_deep if left == 0
run
backtrace
finish
print *$
print $.next->next.name
continue
backtrace 5
python print(sum(int(gdb.parse_and_eval("head->value + %d" % n)) for n in range(100)))
python print(len([block for block in gdb.selected_frame().function().symtab.linetable()]))
delete
continue
print $_exitcode
info functions rp_
GDB
gdb -nx -q --batch -iex "set debuginfod enabled off" -x script ./program 2>&1 | sed 's/(process [0-9]*)/(process N)/'
