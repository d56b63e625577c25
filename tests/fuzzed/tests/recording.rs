//! The inputs kept of fuzzing `recording_reader`. A process of its own.

#[test]
fn recordings_of_the_corpus_are_read() {
    let n = pymalloc_fuzzed::corpus("recording_reader", pymalloc_fuzzed::recording);
    println!("{n} inputs");
    assert!(n > 100, "{n} inputs");
}
