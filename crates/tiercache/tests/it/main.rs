//! The cache on a real Valkey, and its protocol in a model checker.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says where it fails"
)]
#![expect(
    clippy::print_stdout,
    reason = "the model checker shows its counterexamples"
)]

mod model;

mod faults;
mod first_level;
mod histories;
mod late_joiners;
mod races;
mod reads;
mod support;
mod wire;
mod writes;
