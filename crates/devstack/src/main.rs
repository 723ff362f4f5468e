//! The `devstack` program: the demo, and a stack for developers.
fn main() {}
