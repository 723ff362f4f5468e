//! `/metrics`: text format, counters and listener.

mod catalogue;
mod counters;
mod dependencies;
mod listener;
mod text_format;

pub(crate) use crate::metrics::text_format::Scrape;
use crate::metrics::text_format::parse;
use axum::body::Body;
use fia_api::app::{Metrics, Service as _};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;

pub(crate) async fn scrape(metrics: &Metrics) -> Scrape {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let (parts, body) = metrics.clone().handle(request).await.into_parts();
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(
        parts.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let body = body.collect().await.unwrap().to_bytes();
    parse(std::str::from_utf8(&body).unwrap())
}
