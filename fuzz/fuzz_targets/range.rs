//! The `Range` header, against a model that marks every byte.
#![no_main]

use fia_api::files::range::{BadRange, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &str)| {
    let (size, header) = input;
    let size = u64::from(size) % 2048;
    let found = parse(header, size);
    if let Ok(parts) = &found {
        assert!(parts.len() <= 64);
        assert!(
            parts
                .iter()
                .all(|part| part.start < part.end && part.end <= size)
        );
        // In order, and neither overlapping nor adjacent.
        assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
    match (model(header, size), found) {
        (None, found) => assert_eq!(found, Err(BadRange::Malformed), "{header:?}"),
        (Some(marked), Err(error)) => {
            assert_eq!(error, BadRange::Unsatisfiable);
            assert!(!marked.contains(&true));
        }
        (Some(marked), Ok(parts)) if !parts.is_empty() => {
            let mut served = vec![false; marked.len()];
            for part in parts {
                served[part.start as usize..part.end as usize].fill(true);
            }
            assert_eq!(served, marked, "{header:?} of {size}");
        }
        // The whole file, for more than 64 parts.
        (Some(marked), Ok(_)) => {
            let starts = marked.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            assert!(starts + usize::from(marked.first() == Some(&true)) > 64);
        }
    }
});

/// The bytes that a header asks for; `None` if it is malformed.
fn model(header: &str, size: u64) -> Option<Vec<bool>> {
    let (unit, list) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut marked = vec![false; size as usize];
    let mut count = 0;
    for spec in list
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty())
    {
        count += 1;
        let (first, last) = spec.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        for byte in 0..u128::from(size) {
            marked[byte as usize] |= match (first, last) {
                (None, None) => return None,
                (Some(first), Some(last)) if first > last => return None,
                (Some(first), Some(last)) => (first..=last).contains(&byte),
                (Some(first), None) => byte >= first,
                (None, Some(length)) => byte + length >= u128::from(size),
            };
        }
        match (first, last) {
            (None, None) => return None,
            (Some(first), Some(last)) if first > last => return None,
            _ => {}
        }
    }
    (count > 0).then_some(marked)
}

/// An optional number; a longer one than 64 bits is as large as they allow.
fn number(text: &str) -> Option<Option<u128>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(
        text.parse().unwrap_or(u128::MAX).min(u128::from(u64::MAX)),
    ))
}
