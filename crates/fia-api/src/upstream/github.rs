//! The HTTP client for GitHub.

use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};
use secrecy::ExposeSecret as _;

use crate::config;
use crate::upstream::{UpstreamError, builder};

/// Maximum number of redirects of a request: GitHub redirects from the old name of a repository.
const MAX_REDIRECTS: usize = 5;

/// Creates a client that follows redirects, without the token to another host or port, and that
/// uses the configured proxy.
pub(super) fn client(config: &config::GitHub) -> Result<Client, UpstreamError> {
    let mut builder = builder().redirect(Policy::limited(MAX_REDIRECTS));
    if let Some(url) = &config.proxy {
        let direct = NoProxy::from_string(&config.no_proxy);
        builder = builder.proxy(Proxy::https(url.expose_secret())?.no_proxy(direct));
    }
    Ok(builder.build()?)
}
