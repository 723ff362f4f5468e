//! Metadata of an archive member: name, date, mode and compression.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use cap_std::fs::{Metadata, MetadataExt as _};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime};

use crate::model::civil_date;

/// Compression level: the fastest, so that the network remains the bottleneck.
const LEVEL: i64 = 1;
/// Size of a sample that is test-compressed, in bytes.
const SAMPLE: usize = 32 * 1024;
/// Size from which ZIP64 is used: below 4 GiB, as incompressible data grows a little.
const LARGE: u64 = 0xF000_0000;
/// The permission bits of a Unix mode.
const PERMISSIONS: u32 = 0o777;

/// Returns a member name that is safe on every system: backslashes and control characters are
/// replaced. The path is already normalized.
pub(super) fn safe_name(job: i64, name: &str) -> String {
    let plain = |c: char| if c == '\\' || c.is_control() { '_' } else { c };
    let name: String = name.chars().map(plain).collect();
    format!("{job}/{name}")
}

/// Returns the options of a file's member.
pub(super) fn options(file: &File, metadata: &Metadata) -> io::Result<SimpleFileOptions> {
    let (method, level) = if shrinks(file, metadata.len())? {
        (CompressionMethod::Deflated, Some(LEVEL))
    } else {
        (CompressionMethod::Stored, None)
    };
    Ok(SimpleFileOptions::default()
        .compression_method(method)
        .compression_level(level)
        .large_file(metadata.len() >= LARGE)
        .unix_permissions(metadata.mode() & PERMISSIONS)
        .last_modified_time(date(metadata.mtime())))
}

/// Whether samples of a file compress by at least a tenth. The beginning is no indication: many
/// formats have a compressible header before incompressible data.
fn shrinks(file: &File, size: u64) -> io::Result<bool> {
    let offsets = if size <= 4 * SAMPLE as u64 {
        vec![0]
    } else {
        vec![size / 4, size / 2, size / 4 * 3]
    };
    let mut sample = vec![0; SAMPLE];
    let (mut before, mut after) = (0, 0);
    for offset in offsets {
        let read = file.read_at(&mut sample, offset)?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&sample[..read])?;
        before += read;
        after += encoder.finish()?.len();
    }
    Ok(after * 10 < before * 9)
}

/// Converts a Unix time to a DOS date: UTC, from 1980 on, in steps of 2 s.
fn date(seconds: i64) -> DateTime {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let part = |value: i64| u8::try_from(value).unwrap_or(0);
    u16::try_from(year)
        .ok()
        .and_then(|year| {
            let (hour, minute) = (second / 3600, second / 60 % 60);
            let time = (part(hour), part(minute), part(second % 60));
            DateTime::from_date_and_time(year, part(month), part(day), time.0, time.1, time.2).ok()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_on_other_systems() {
        for (name, member) in [
            ("sub/a.nxs", "1/sub/a.nxs"),
            ("ünï.txt", "1/ünï.txt"),
            (r"..\..\a", "1/.._.._a"),
            ("a\r\nb", "1/a__b"),
        ] {
            assert_eq!(safe_name(1, name), member);
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, date) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_735_689_599, (2024, 12, 31)),
            (1_735_689_600, (2025, 1, 1)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(civil_date(seconds / 86_400), date, "{seconds}");
        }
        let shown = date(1_735_689_599);
        let time = (shown.hour(), shown.minute(), shown.second());
        assert_eq!((shown.year(), time), (2024, (23, 59, 58)));
        assert_eq!(date(0), DateTime::default());
    }

    #[test]
    fn only_compressible_files_are_compressed() {
        let noise: Vec<u8> = (0..1_000_000).map(|_| rand::random()).collect();
        let text = "the same again; ".repeat(10_000).into_bytes();
        let header_then_noise = [vec![0; 100_000], noise.clone()].concat();
        for (content, compressed) in [
            (text, true),
            (noise, false),
            (header_then_noise, false),
            (Vec::new(), false),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            let size = content.len() as u64;
            assert_eq!(shrinks(&file, size).unwrap(), compressed, "{size}");
        }
    }
}
