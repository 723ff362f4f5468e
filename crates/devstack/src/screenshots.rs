//! `devstack screenshots`: images of a page for the documentation.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use devstack::Browser;

use crate::Outcome;

/// The widths, each with the height that shows what matters.
const SIZES: [(u32, u32); 2] = [(1280, 1500), (390, 1500)];
/// The time for the page to update itself.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Options {
    /// Address of the page.
    url: String,
    /// Directory for the images.
    directory: PathBuf,
    /// Format of the images: webp or png.
    #[arg(long, default_value = "webp")]
    format: String,
    /// Beginning of the names of the images.
    #[arg(long, default_value = "")]
    prefix: String,
}

/// Writes `1280-light.webp`, `1280-dark.webp`, and so on.
pub(crate) async fn run(options: Options) -> Outcome {
    let Some(browser) = Browser::start()? else {
        return Err("Chromium is not installed: run scripts/install-deps browser".into());
    };
    fs::create_dir_all(&options.directory)?;
    for (width, height) in SIZES {
        for (scheme, is_dark) in [("light", false), ("dark", true)] {
            let page = browser.page((width, height), is_dark).await?;
            page.open(&options.url).await?;
            tokio::time::sleep(SETTLE).await;
            let image = page.screenshot(&options.format).await?;
            let Options { prefix, format, .. } = &options;
            let name = format!("{prefix}{width}-{scheme}.{format}");
            fs::write(Path::new(&options.directory).join(name), image)?;
        }
    }
    Ok(())
}
