//! Who is calling, and what they may do.
//!
//! Roles are values: a [`Caller`] cannot be absent, and what only staff may do wants a
//! [`Staff`], which only [`Role::of`] gives.

mod authenticator;
mod token;

pub use authenticator::Authenticator;

use crate::error::ApiError;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A program that holds the API key; it may do what staff may.
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

/// Proof that the caller is staff, or a program with the API key.
#[derive(Debug, Clone, Copy)]
pub struct Staff(Caller);

/// Proof that the caller is a program with the API key; a token that claims its user number is
/// none.
#[derive(Debug, Clone, Copy)]
pub struct KeyHolder(());

impl Staff {
    /// Who it is.
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
    /// The caller in `DEV_MODE`, as the older server has it.
    pub(crate) const DEVELOPER: Self = Self::Staff { user_number: 123 };

    /// The user number; −1 for programs, as the older server has it.
    #[must_use]
    pub fn user_number(self) -> i32 {
        match self {
            Self::ApiKey => -1,
            Self::Staff { user_number } | Self::User { user_number } => user_number,
        }
    }
}

/// What a route asks of its caller; stands in the signature of its handler.
pub trait Role: Sized + Send {
    /// Takes the caller in this role.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] where the caller does not have it.
    fn of(caller: Caller) -> Result<Self, ApiError>;
}

/// Anybody with a valid token.
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
