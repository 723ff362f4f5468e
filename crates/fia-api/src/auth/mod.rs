//! Authentication of callers, and their roles.
//!
//! Roles are values: operations restricted to staff take a [`Staff`], which only [`Role::of`]
//! creates.

mod authenticator;
mod budget;
mod fallback;
mod token;
mod verdicts;

use std::sync::{Arc, OnceLock};

pub use authenticator::Authenticator;

use crate::error::ApiError;

/// The authenticated sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A program with the API key; it has the permissions of staff.
    ApiKey,
    /// A member of staff.
    Staff {
        /// The user number, above 0.
        user_number: i32,
    },
    /// A visiting user.
    User {
        /// The user number, above 0.
        user_number: i32,
    },
}

/// The kind of a caller, for logs and traces, which never hold who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// A program with the API key.
    Program,
    /// A member of staff.
    Staff,
    /// A visiting user.
    User,
}

impl CallerKind {
    /// The name in logs and traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Staff => "staff",
            Self::User => "user",
        }
    }
}

/// Request extension: carries the kind of the caller from the extractor to the access log.
#[derive(Debug, Clone, Default)]
pub struct CallerSlot(Arc<OnceLock<CallerKind>>);

impl CallerSlot {
    /// Stores the kind of the authenticated caller.
    pub fn set(&self, caller: Caller) {
        // Authenticated once.
        let _ = self.0.set(caller.kind());
    }

    /// The kind of the caller; `None` if the request was not authenticated.
    #[must_use]
    pub fn get(&self) -> Option<CallerKind> {
        self.0.get().copied()
    }
}

/// Proof that the caller is staff, or a program with the API key.
#[derive(Debug, Clone, Copy)]
pub struct Staff(Caller);

/// Proof that the caller is a program with the API key. A token that claims its user number is
/// not sufficient.
#[derive(Debug, Clone, Copy)]
pub struct KeyHolder(());

impl Staff {
    /// The caller.
    #[must_use]
    pub fn caller(self) -> Caller {
        self.0
    }

    /// The user number; −1 for programs.
    #[must_use]
    pub fn user_number(self) -> i32 {
        self.0.user_number()
    }
}

impl Caller {
    /// The caller in `DEV_MODE`, as in the older server.
    pub(crate) const DEVELOPER: Self = Self::Staff { user_number: 123 };

    /// The kind of the caller.
    #[must_use]
    pub fn kind(self) -> CallerKind {
        match self {
            Self::ApiKey => CallerKind::Program,
            Self::Staff { .. } => CallerKind::Staff,
            Self::User { .. } => CallerKind::User,
        }
    }

    /// The user number; −1 for programs, as in the older server.
    #[must_use]
    pub fn user_number(self) -> i32 {
        match self {
            Self::ApiKey => -1,
            Self::Staff { user_number } | Self::User { user_number } => user_number,
        }
    }
}

/// The role that a route requires, visible in the signature of its handler.
pub trait Role: Sized + Send {
    /// Checks that the caller has this role.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] if the caller lacks it.
    fn of(caller: Caller) -> Result<Self, ApiError>;
}

/// Any caller with a valid token.
impl Role for Caller {
    fn of(caller: Caller) -> Result<Self, ApiError> {
        Ok(caller)
    }
}

impl Role for Staff {
    fn of(caller: Caller) -> Result<Self, ApiError> {
        match caller {
            Caller::ApiKey | Caller::Staff { .. } => Ok(Self(caller)),
            Caller::User { .. } => Err(ApiError::Forbidden),
        }
    }
}

impl Role for KeyHolder {
    fn of(caller: Caller) -> Result<Self, ApiError> {
        match caller {
            Caller::ApiKey => Ok(Self(())),
            Caller::Staff { .. } | Caller::User { .. } => Err(ApiError::Forbidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_staff_and_the_api_key_are_staff() {
        assert!(Staff::of(Caller::ApiKey).is_ok());
        assert!(Staff::of(Caller::Staff { user_number: 1 }).is_ok());
        let user = Staff::of(Caller::User { user_number: 1 });
        assert_eq!(user.err(), Some(ApiError::Forbidden));
    }
}
