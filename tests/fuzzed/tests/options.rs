//! The inputs kept of fuzzing `options`. A process of its own.

#[test]
fn options_of_the_corpus_mean_what_their_table_says() {
    let n = pymalloc_fuzzed::corpus("options", pymalloc_fuzzed::options);
    println!("{n} inputs");
    assert!(n > 100, "{n} inputs");
}
