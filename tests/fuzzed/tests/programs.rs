//! The inputs kept of fuzzing `api_programs`. A process of its own.

#[test]
fn programs_of_the_corpus_do_what_the_oracle_says() {
    let n = pymalloc_fuzzed::corpus("api_programs", pymalloc_fuzzed::programs);
    println!("{n} inputs");
    assert!(n > 100, "{n} inputs");
}
