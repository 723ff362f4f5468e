//! A minimal HTTP/1.1 client for tests and benchmarks.
//!
//! Each [`Connection`] is one kept-alive connection, driven by the task that sends the request.
//! There is no pool and no background task, so that the client adds little to the latency it
//! measures.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Timeout for connecting, and for each request until the end of its response.
const TIMEOUT: Duration = Duration::from_secs(60);

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// A kept-alive connection; one request at a time.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Reads and writes the socket while it is polled; none once the connection is closed.
    driver: Option<Driver>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// A response with its whole body.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Connection {
    /// Connects. Every request carries this `Authorization` header.
    ///
    /// # Errors
    /// When the connection is refused or not established within 60 s.
    pub async fn open(address: SocketAddr, authorization: &str) -> io::Result<Self> {
        let mut connection = Self::open_anonymous(address).await?;
        connection.authorization = Some(header_value(authorization)?);
        Ok(connection)
    }

    /// Connects. Requests carry no `Authorization` header.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn open_anonymous(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(TIMEOUT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(io::Error::other)?;
        Ok(Self {
            sender,
            driver: Some(driver),
            host: header_value(&address.to_string())?,
            authorization: None,
        })
    }

    /// Sends a `GET` request and reads the whole response.
    ///
    /// # Errors
    /// When the connection fails, or there is no complete response within 60 s. The connection is
    /// then not usable any more.
    pub async fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send(Method::GET, path, &[], "").await
    }

    /// Sends a `POST` request with a JSON text.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post(&mut self, path: &str, json: &str) -> io::Result<Response> {
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json")];
        self.send(Method::POST, path, &headers, json).await
    }

    /// Sends a `PUT` request with a JSON text.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn put(&mut self, path: &str, json: &str) -> io::Result<Response> {
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json")];
        self.send(Method::PUT, path, &headers, json).await
    }

    /// Sends a request with additional headers and reads the whole response.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Response> {
        let request = self.request(method, path, headers, body)?;
        let sender = &mut self.sender;
        let exchange = async move {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok(Response {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await?.to_bytes().into(),
            })
        };
        drive(&mut self.driver, exchange).await
    }

    /// Sends a request and returns as soon as the response's headers are there. The connection is
    /// closed when the stream is dropped.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn stream(
        mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<BodyStream> {
        let request = self.request(method, path, headers, body)?;
        let sender = &mut self.sender;
        let exchange = async move {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = drive(&mut self.driver, exchange).await?;
        Ok(BodyStream {
            status: response.status().as_u16(),
            body: response.into_body(),
            connection: self,
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        request.body(body).map_err(io::Error::other)
    }
}

/// A response whose body is read in chunks.
pub struct BodyStream {
    /// The status code.
    pub status: u16,
    body: Incoming,
    connection: Connection,
}

impl BodyStream {
    /// The next chunk of the body; none at its end.
    ///
    /// # Errors
    /// When the connection fails before the end of the body, or there is no chunk within 60 s.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let body = &mut self.body;
        let next = async move {
            // Trailers are skipped.
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(None)
        };
        drive(&mut self.connection.driver, next).await
    }
}

/// Runs an operation of at most [`TIMEOUT`] while reading and writing the connection's socket.
async fn drive<T>(
    driver: &mut Option<Driver>,
    operation: impl Future<Output = hyper::Result<T>>,
) -> io::Result<T> {
    let driven = async {
        let operation = pin!(operation);
        let Some(open) = driver else {
            return operation.await;
        };
        match select(operation, open).await {
            Either::Left((outcome, _)) => outcome,
            // The connection is closed, but the response may already be buffered.
            Either::Right((_, operation)) => {
                *driver = None;
                operation.await
            }
        }
    };
    timeout(TIMEOUT, driven).await?.map_err(io::Error::other)
}

fn header_value(text: &str) -> io::Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(io::Error::other)
}
