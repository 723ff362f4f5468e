//! The macro that declares a group of settings.

/// Declares a group of settings: a struct whose fields are environment variables.
///
/// ```text
/// settings! {
///     /// What the group is.
///     "Section of --help and check-config"
///     pub struct Group {
///         /// The help text, which is also the field's documentation.
///         pub field: Type = kind("VARIABLE", arguments of the kind…);
///         …
///     }
/// }
/// ```
///
/// A kind is a method of [`Reader`](super::reader::Reader): it parses the variable, checks its
/// range and records the setting. `nested field: Group = "documentation";` is a further group.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $section:literal
        pub struct $Group:ident {
            $(
                $(#[doc = $help:literal])+
                pub $field:ident: $type:ty = $kind:ident($variable:literal $(, $argument:expr)* $(,)?);
            )*
            $(
                nested $nested:ident: $Nested:ident = $nested_doc:literal;
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone)]
        pub struct $Group {
            $(
                $(#[doc = $help])+
                #[doc = concat!("\n\nThe variable `", $variable, "`.")]
                pub $field: $type,
            )*
            $(
                #[doc = $nested_doc]
                pub $nested: $Nested,
            )*
        }

        impl $Group {
            pub(in crate::config) fn read(reader: &mut $crate::config::reader::Reader<'_>) -> Self {
                Self {
                    $($field: reader.$kind(
                        $crate::config::reader::Variable {
                            section: $section,
                            name: $variable,
                            help: concat!($($help),+).trim_ascii(),
                        },
                        $($argument),*
                    ),)*
                    $($nested: $Nested::read(reader),)*
                }
            }
        }
    };
}

pub(in crate::config) use settings;
