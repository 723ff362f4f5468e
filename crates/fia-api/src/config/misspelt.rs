//! Finds variables whose name is close to that of a setting.

/// The largest edit distance that counts as a misspelling; for short names, where a distance of
/// two says little, it is one.
const MAX_DISTANCE: usize = 2;
/// The length from which a name is not short, in bytes.
const LONG_NAME: usize = 8;

/// The setting that a variable is probably meant to be. `None` if it is a setting, or like none:
/// the environment holds many unrelated variables.
pub(super) fn meant<'a>(variable: &str, settings: &[&'a str]) -> Option<&'a str> {
    if settings.contains(&variable) {
        return None;
    }
    let upper = variable.to_ascii_uppercase();
    let near = settings.iter().map(|name| (distance(&upper, name), *name));
    let (distance, name) = near.min()?;
    let limit = if name.len() < LONG_NAME {
        1
    } else {
        MAX_DISTANCE
    };
    (distance <= limit).then_some(name)
}

/// The number of insertions, deletions, replacements and swaps of neighbours between two names
/// (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(a != b);
            let mut least = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if swapped {
                least = least.min(at(&before_last, j - 1) + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    at(&last, other.len())
}

fn at(row: &[usize], position: usize) -> usize {
    row.get(position).copied().unwrap_or(usize::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_matched_and_an_unrelated_one_ignored() {
        let settings = ["DB_IP", "DB_POOL_SIZE", "VALKEY_URL", "FIA_API_BIND"];
        for (variable, setting) in [
            ("DB_POOLSIZE", Some("DB_POOL_SIZE")),
            ("DB_POLO_SIZE", Some("DB_POOL_SIZE")),
            ("db_pool_size", Some("DB_POOL_SIZE")),
            ("VALKEY_URI", Some("VALKEY_URL")),
            ("VALKEYURL_", Some("VALKEY_URL")),
            ("DB_I", Some("DB_IP")),
            ("DB_IP", None),
            ("DB_XY", None),
            ("FIA_API_PORT", None),
            ("PATH", None),
            ("", None),
        ] {
            assert_eq!(meant(variable, &settings), setting, "{variable}");
        }
    }

    #[test]
    fn edit_distances() {
        for (one, other, edits) in [
            ("", "", 0),
            ("", "AB", 2),
            ("AB", "BA", 1),
            ("ABC", "AXC", 1),
            ("KITTEN", "SITTING", 3),
        ] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
            assert_eq!(distance(other, one), edits, "{other} {one}");
        }
    }
}
