//! Programs that make cycles: closures that know themselves, rings, object graphs of closures.

/// Every call leaves a frame and a closure that refer to each other.
pub const LOOPS: &str = "
(define (sum-to n)
  (define (loop i sum) (if (< n i) sum (loop (+ i 1) (+ sum i))))
  (loop 1 0))
(define (repeat n last) (if (= n 0) last (repeat (- n 1) (sum-to 20))))
(repeat TIMES 0)";

/// Accounts with methods that refer to each other through the account.
pub const ACCOUNTS: &str = "
(define (make-account balance)
  (define (deposit amount) (set! balance (+ balance amount)) self)
  (define (self message) (cond ((eq? message 'deposit) deposit) (else balance)))
  self)
(define (total n sum)
  (if (= n 0) sum
      (let ((account (make-account n)))
        ((account 'deposit) 7)
        (total (- n 1) (+ sum (account 'balance))))))
(total TIMES 0)";

/// Rings of pairs, each made, walked and forgotten.
pub const RINGS: &str = "
(define (make-ring n)
  (define first (cons 0 '()))
  (define (grow i rest) (if (= i n) rest (grow (+ i 1) (cons i rest))))
  (set-cdr! first (grow 1 first))
  first)
(define (walk ring n sum) (if (= n 0) sum (walk (cdr ring) (- n 1) (+ sum (car ring)))))
(define (repeat n sum) (if (= n 0) sum (repeat (- n 1) (+ sum (walk (make-ring 50) 200 0)))))
(repeat TIMES 0)";

/// Sorting: lists that counting alone frees.
pub const SORTING: &str = "
(define (numbers n seed) (if (= n 0) '() (cons seed (numbers (- n 1) (remainder (+ (* seed 75) 74) 65537)))))
(define (insert x sorted)
  (if (or (null? sorted) (< x (car sorted))) (cons x sorted) (cons (car sorted) (insert x (cdr sorted)))))
(define (sort all) (if (null? all) '() (insert (car all) (sort (cdr all)))))
(define (nth all n) (if (= n 0) (car all) (nth (cdr all) (- n 1))))
(define (repeat n last) (if (= n 0) last (repeat (- n 1) (nth (sort (numbers 60 n)) 30))))
(repeat TIMES 0)";

/// A program with its number of rounds.
pub fn times(program: &str, n: u64) -> String {
    program.replace("TIMES", &n.to_string())
}
