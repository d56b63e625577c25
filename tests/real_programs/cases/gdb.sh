#!/usr/bin/env bash
# about: gdb --batch: symbols, a run with breakpoints and backtraces, Python inside gdb
# needs: gdb=gdb gcc=gcc
# proves: gdb program
. "$RP_DIR/case.sh"

cat >program.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { int value; char name[20]; struct node *next; };
static struct node *push(struct node *head, int value)
{
    struct node *node = malloc(sizeof *node);
    node->value = value;
    snprintf(node->name, sizeof node->name, "node %d", value);
    node->next = head;
    return node;
}
static int deep(struct node *head, int left) { return left ? deep(head, left - 1) + 1 : head->value; }
int main(void)
{
    struct node *head = NULL;
    for (int n = 0; n < 5; n++)
        head = push(head, n * n);
    int result = deep(head, 30);
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
break push if value == 9
break deep if left == 0
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
info functions node|push
GDB
gdb -nx -q --batch -iex "set debuginfod enabled off" -x script ./program 2>&1 | sed 's/(process [0-9]*)/(process N)/'
