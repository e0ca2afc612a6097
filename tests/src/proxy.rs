//! What proxies before servers have in common.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Answers what comes to a listener, for as long as the runtime lives that this is called on. An error
/// closes the connection.
pub fn serve<H, F, B>(listener: TcpListener, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<Response<B>>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service_fn(handle.clone()));
            tokio::spawn(served);
        }
    });
}

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
