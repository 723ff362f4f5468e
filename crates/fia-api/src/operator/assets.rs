//! The style sheet, the script, the fonts and the icon, compiled into the program.

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    pub(super) media_type: &'static str,
    pub(super) content: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $media_type:literal;)+) => {
        const ASSETS: &[Asset] = &[$(Asset {
            path: concat!("/assets/", $name),
            media_type: $media_type,
            content: include_bytes!(concat!("assets/", $name)),
        }),+];
    };
}

assets! {
    "operator.css": "text/css; charset=utf-8";
    "operator.js": "text/javascript; charset=utf-8";
    "icon.svg": "image/svg+xml";
    "plex-sans-400.woff2": "font/woff2";
    "plex-sans-600.woff2": "font/woff2";
    "plex-mono-400.woff2": "font/woff2";
}

/// The asset of a path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    /// Fonts never change; the others may with each version, and are small.
    pub(super) fn cache_control(&self) -> &'static str {
        match self.media_type {
            "font/woff2" => "max-age=604800",
            _ => "no-cache",
        }
    }
}
