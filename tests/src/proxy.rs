//! What proxies before servers have in common.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Hands a request on to a server, over a connection of its own, and waits for the whole answer.
///
/// # Errors
/// Where the server can't be reached, or breaks off.
pub async fn forward(
    upstream: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<Response<Bytes>> {
    let io = TokioIo::new(TcpStream::connect(upstream).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(io::Error::other)?;
    let driven = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    driven.abort();
    Ok(Response::from_parts(parts, body))
}

/// The same for an answer that is a stream: it is handed on as it comes.
///
/// # Errors
/// Where the server can't be reached.
pub async fn forward_stream(
    upstream: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<Response<Incoming>> {
    let io = TokioIo::new(TcpStream::connect(upstream).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(io::Error::other)?;
    // It ends with the answer, since nothing else is sent.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}
