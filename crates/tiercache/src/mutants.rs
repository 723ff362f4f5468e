//! Defects that the simulator builds into the code, one at a time, to prove that its checks
//! detect them.

macro_rules! mutants {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// A defect of the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])+ $name),+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

mutants! {
    /// FILL is an unconditional SET.
    FillWithoutLease,
}
