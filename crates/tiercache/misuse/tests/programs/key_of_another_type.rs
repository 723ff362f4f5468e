//! The keys of the namespace are numbers.

use tiercache_misuse::Users;

fn key(users: &Users) -> tiercache::Key {
    users.key("seven")
}

fn main() {}
