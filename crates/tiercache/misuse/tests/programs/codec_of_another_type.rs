//! `Raw` encodes bytes and strings only.

use tiercache::{Cache, Raw};

fn users(cache: &Cache) {
    let users = cache.namespace::<u64, Vec<u64>, std::io::Error>("app:user:", Raw);
    let _ = users.build();
}

fn main() {}
