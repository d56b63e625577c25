//! The example `scheme`: values, errors, and that programs leave nothing behind.

use pymalloc::gc;

#[macro_use]
#[path = "../examples/scheme/memory.rs"]
mod memory;
#[path = "../examples/scheme/interpreter/mod.rs"]
mod interpreter;
#[path = "../examples/scheme/programs.rs"]
mod programs;

use interpreter::{Scheme, SchemeError};
use programs::{ACCOUNTS, LOOPS, RINGS, SORTING, times};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Runs on a stack that holds the deepest calls.
fn on_a_large_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    thread.spawn(work).unwrap().join().unwrap();
}

fn value_of(text: &str) -> String {
    let mut scheme = Scheme::default();
    let value = scheme.run(text).unwrap();
    scheme.show(&value)
}

#[test]
fn expressions_have_the_values_of_scheme() {
    let cases = [
        ("(+ 1 2 (* 3 4) (- 5) (- 10 1 2))", "17"),
        ("(quotient 17 5) (remainder -17 5)", "-2"),
        ("'(a (b . c) 1)", "(a (b . c) 1)"),
        ("(cons 1 2)", "(1 . 2)"),
        ("(cons 1 '(2 3))", "(1 2 3)"),
        ("(if '() 'yes 'no)", "yes"),
        ("(cond ((= 1 2) 'a) ((< 1 2) 'b) (else 'c))", "b"),
        ("(and 1 2 #f 3)", "#f"),
        ("(or #f 7 8)", "7"),
        ("(and)", "#t"),
        ("(let ((x 1) (y 2)) (define z 3) (list x y z))", "(1 2 3)"),
        ("(define x 1) (set! x (+ x 1)) x", "2"),
        (
            "((lambda (f) (f f 10)) (lambda (f n) (if (= n 0) 'done (f f (- n 1)))))",
            "done",
        ),
        (
            "(define (counter) (define n 0) (lambda () (set! n (+ n 1)) n)) (define c (counter)) (c) (c) (c)",
            "3",
        ),
        (
            "(define r (list 1 2)) (set-cdr! (cdr r) r) (eq? r (cdr (cdr r)))",
            "#t",
        ),
        (
            "(define if-not not) (list (if-not #f) (pair? 1) (null? '()))",
            "(#t #f #t)",
        ),
    ];
    for (text, value) in cases {
        assert_eq!(value_of(text), value, "{text}");
    }
    assert!(value_of("(define r (list 1)) (set-cdr! r r) r").ends_with("1 ...)"));
}

#[test]
fn what_is_wrong_is_said() {
    on_a_large_stack(|| {
        let cases = [
            ("(+ 1", "bad syntax: the text ends inside a list"),
            (")", "bad syntax: nothing to close"),
            ("(lambda (1) 1)", "bad syntax: a name was wanted"),
            ("()", "bad syntax: an empty call"),
            ("(f)", "unbound variable: f"),
            ("(1 2)", "call of what is no procedure"),
            ("((lambda (x) x))", "wrong number of arguments: 0"),
            ("(car 1 2)", "wrong number of arguments: 2"),
            ("(car 1)", "not of the type wanted: a pair"),
            ("(+ 'a 1)", "not of the type wanted: an integer"),
            ("(quotient 1 0)", "number too large, or division by 0"),
            (
                "(* 9223372036854775807 2)",
                "number too large, or division by 0",
            ),
            (
                "(define (f n) (+ 1 (f n))) (f 1)",
                "calls are nested too deeply",
            ),
        ];
        for (text, message) in cases {
            let error = Scheme::default().run(text).map(drop).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
        let nest = "(".repeat(100_000);
        assert_eq!(
            Scheme::default().run(&nest).map(drop),
            Err(SchemeError::TooDeep)
        );
    });
}

#[test]
fn last_calls_take_no_stack_and_long_lists_die_on_a_small_one() {
    let text = "(define (grow n all) (if (= n 0) all (grow (- n 1) (cons n all)))) (car (grow 1000000 '()))";
    assert_eq!(value_of(text), "1");
}

#[test]
fn programs_have_their_values_and_leave_nothing() {
    on_a_large_stack(|| {
        for (program, value) in [
            (LOOPS, "210"),
            (ACCOUNTS, "507500"),
            (RINGS, "4900000"),
            (SORTING, "27198"),
        ] {
            let n = if program == SORTING { 200 } else { 1000 };
            assert_eq!(value_of(&times(program, n)), value);
            gc::collect();
            assert_eq!(gc::get_objects(None).unwrap().len(), 0, "{program}");
        }
    });
}
