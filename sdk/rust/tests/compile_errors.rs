//! What an author reads who got something wrong: each file in `compile-fail` fails to compile with
//! the error beside it. `TRYBUILD=overwrite cargo test -p tidegate-plugin --test compile_errors`
//! writes them anew.

#[test]
fn errors_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
