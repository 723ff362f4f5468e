//! Programs that must not compile, with the compiler's messages. After a change of a message:
//! `TRYBUILD=overwrite cargo test -p tiercache-misuse`, and read what it says to a newcomer.

/// Takes a minute at first: the programs' dependencies are checked in a directory of their own.
#[test]
fn wrong_programs_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/programs/*.rs");
}
