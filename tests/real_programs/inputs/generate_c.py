"""A large C program of N functions: structs, switches, loops and tables; prints the program."""
import random
import sys

count = int(sys.argv[1])
rng = random.Random(6)
print("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n")
for n in range(count):
    fields = " ".join(f"int f{i};" if rng.random() < 0.7 else f"double g{i};" for i in range(rng.randrange(2, 12)))
    print(f"struct s{n} {{ int f; {fields} struct s{n} *next; }};")
    table = ", ".join(str(rng.randrange(1000)) for _ in range(rng.randrange(4, 64)))
    print(f"static const int table{n}[] = {{ {table} }};")
    print(f"int work{n}(int x, const char *text)\n{{")
    print(f"    struct s{n} *head = NULL;\n    unsigned sum = x;")
    print(f"    for (int i = 0; i < (int)(sizeof table{n} / sizeof *table{n}); i++) {{")
    print(f"        struct s{n} *node = calloc(1, sizeof *node);\n        node->f = table{n}[i] ^ (int)sum;")
    print("        node->next = head;\n        head = node;\n        switch ((unsigned)node->f % 7) {")
    for case in range(7):
        a, b = rng.randrange(1, 99), rng.randrange(1, 30)
        print(f"        case {case}: sum = sum * {a}u + (sum >> {b}) + (unsigned)text[i % {case + 1}]; break;")
    print("        }\n    }\n    while (head) {")
    print(f"        struct s{n} *next = head->next;\n        sum += head->f;\n        free(head);\n        head = next;\n    }}")
    if n:
        print(f"    if (sum % 3 == 0)\n        sum += work{rng.randrange(max(0, n - 20), n)}(x / 2, text);")
    print("    return sum;\n}\n")
print("int main(void)\n{\n    unsigned total = 0;")
for n in range(count):
    print(f'    total = total * 31 + work{n}({n}, "text of eight");')
print('    printf("%u\\n", total);\n    return 0;\n}')
