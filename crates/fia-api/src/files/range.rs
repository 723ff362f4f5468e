//! The `Range` header (RFC 9110, section 14).

use std::ops::Range;

/// Maximum number of disjoint parts: each costs a header of its own.
const MAX_PARTS: usize = 64;

/// A range cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRange {
    /// The syntax is invalid.
    Malformed,
    /// No part overlaps the file.
    Unsatisfiable,
}

/// Parses a header for a file of `size` bytes. Returns non-empty parts in order, with overlapping
/// and adjacent ones merged; none if more than 64 remain, so that the whole file is sent.
///
/// # Errors
/// [`BadRange`].
pub fn parse(header: &str, size: u64) -> Result<Vec<Range<u64>>, BadRange> {
    let (unit, list) = header.split_once('=').ok_or(BadRange::Malformed)?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Err(BadRange::Malformed);
    }
    let mut parts = Vec::new();
    let specs = list.split(',').map(str::trim);
    for part in specs.filter(|part| !part.is_empty()) {
        parts.push(parse_part(part, size)?);
    }
    if parts.is_empty() {
        return Err(BadRange::Malformed);
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        return Err(BadRange::Unsatisfiable);
    }
    let mut merged = merged(parts);
    if merged.len() > MAX_PARTS {
        merged.clear();
    }
    Ok(merged)
}

/// Parses `first-last`, `first-` or `-length`; empty if it lies beyond the file.
fn parse_part(part: &str, size: u64) -> Result<Range<u64>, BadRange> {
    let (first, last) = part.split_once('-').ok_or(BadRange::Malformed)?;
    match (number(first)?, number(last)?) {
        (None, None) => Err(BadRange::Malformed),
        (Some(first), Some(last)) if first > last => Err(BadRange::Malformed),
        (Some(first), Some(last)) => Ok(first.min(size)..last.saturating_add(1).min(size)),
        (Some(first), None) => Ok(first.min(size)..size),
        (None, Some(length)) => Ok(size.saturating_sub(length)..size),
    }
}

/// Parses an optional number; one beyond 64 bits lies beyond every file.
fn number(text: &str) -> Result<Option<u64>, BadRange> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadRange::Malformed);
    }
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

fn merged(mut parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.sort_unstable_by_key(|part| part.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_parsed() {
        for (header, parts) in [
            ("bytes=0-9", vec![(0, 10)]),
            ("bytes=0-0", vec![(0, 1)]),
            ("Bytes = 5-", vec![(5, 100)]),
            ("bytes=-1", vec![(99, 100)]),
            ("bytes=-500", vec![(0, 100)]),
            ("bytes=90-500", vec![(90, 100)]),
            ("bytes=0-1, 50-59,-2", vec![(0, 2), (50, 60), (98, 100)]),
            ("bytes=50-59,0-1", vec![(0, 2), (50, 60)]),
            ("bytes=0-10,5-20,21-30", vec![(0, 31)]),
            ("bytes=0-1,500-", vec![(0, 2)]),
            ("bytes=0-99999999999999999999", vec![(0, 100)]),
        ] {
            let read = parse(header, 100).unwrap();
            let read: Vec<_> = read.iter().map(|part| (part.start, part.end)).collect();
            assert_eq!(read, parts, "{header}");
        }
    }

    #[test]
    fn malformed_and_unsatisfiable_ranges_are_distinguished() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1",
            "bytes=a-b",
            "bytes=2-1",
            "bytes=+1-2",
            "lines=1-2",
            "bytes=0-1,x",
        ] {
            assert_eq!(parse(header, 100), Err(BadRange::Malformed), "{header}");
        }
        for header in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=500-,-0"] {
            assert_eq!(parse(header, 100), Err(BadRange::Unsatisfiable), "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Err(BadRange::Unsatisfiable));
    }

    #[test]
    fn parts_are_counted_after_they_are_merged() {
        let list = |step: usize, count: usize| {
            let parts = (0..count).map(|i| format!("{}-{}", i * step, i * step + 1));
            format!("bytes={}", parts.collect::<Vec<_>>().join(","))
        };
        assert_eq!(
            parse(&list(2, 1000), 4000),
            Ok(std::iter::once(0..2000).collect())
        );
        assert_eq!(
            parse(&list(4, MAX_PARTS), 4000).map(|parts| parts.len()),
            Ok(MAX_PARTS)
        );
        assert_eq!(parse(&list(4, MAX_PARTS + 1), 4000), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_ordered_and_within_the_file(
            header in "bytes=([0-9]{0,3}-[0-9]{0,3},?){1,5}", size in 0_u64..500
        ) {
            if let Ok(parts) = parse(&header, size) {
                prop_assert!(!parts.is_empty());
                let mut end = None;
                for part in parts {
                    prop_assert!(part.start < part.end && part.end <= size);
                    prop_assert!(end.is_none_or(|end| end < part.start));
                    end = Some(part.end);
                }
            }
        }
    }
}
