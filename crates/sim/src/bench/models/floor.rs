//! The floor: the least that something before a provider can do and still read what is asked. It
//! reads the whole request as JSON, writes it again, sends it on, and passes the answer's bytes.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Listens on a free port of loopback, prints it, and serves until killed.
pub async fn serve(target: SocketAddr) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::bench::machine::announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| pass(client.clone(), target, request));
            let http = hyper::server::conn::http1::Builder::new();
            http.serve_connection(TokioIo::new(stream), service).await
        });
    }
}

async fn pass(
    client: Client<HttpConnector, Full<Bytes>>,
    target: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Incoming>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body)?;
    let path = head.uri.path_and_query().context("a request has a path")?;
    let mut request = Request::post(format!("http://{target}{path}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(serde_json::to_vec(&body)?))?;
    if let Some(shown) = head.headers.get(AUTHORIZATION) {
        request.headers_mut().insert(AUTHORIZATION, shown.clone());
    }
    Ok(client.request(request).await?)
}
