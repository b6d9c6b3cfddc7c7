//! Listeners: addresses, TLS, and the rules that hold for every connection.
//!
//! A listener accepts connections within bounds and hands each request to the gate's router. An
//! address that is not loopback has TLS, or the gate does not start: the bundle's loader refuses
//! it, and so does this.

use crate::http::Body;
use crate::lanes::Lanes;
use crate::route::{Gate, ListenerContext, route};
use crate::tick::Tick;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lockgate_core::declare;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's head. Tokens of up to 16 KiB fit.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Header fields of a request.
const HEADERS_MAX: usize = 100;

/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How long connections may finish what they are doing when the gate stops.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address and port.
    #[error("`{address}` is not an address and a port")]
    Address {
        /// What was given.
        address: String,
    },
    /// The address cannot be bound.
    #[error(
        "`{address}` cannot be listened at (hint: end what has the port, or take another for \
         `address` under `[[listen]]`)"
    )]
    Bind {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address that others can reach needs TLS.
    #[error("`{address}` is not loopback and has no `tls`")]
    NeedsTls {
        /// The address.
        address: String,
    },
    /// A fixed identity would let everybody on the network be somebody.
    #[error("`{address}` has a fixed identity and is not loopback")]
    FixedIdentity {
        /// The address.
        address: String,
    },
    /// Certificate or key cannot be used.
    #[error("`{}` is not a usable certificate or key", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
    },
}

/// An open listener.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    context: Arc<ListenerContext>,
    /// The address that was bound.
    pub address: SocketAddr,
}

impl Listener {
    /// Opens a declared listener. `directory` is where the bundle's files are.
    pub async fn open(declared: &declare::Listen, directory: &Path) -> Result<Self, ListenError> {
        let text = declared.address.clone();
        let wanted: SocketAddr =
            text.parse().map_err(|_| ListenError::Address { address: text.clone() })?;
        if !wanted.ip().is_loopback() && declared.tls.is_none() {
            return Err(ListenError::NeedsTls { address: text });
        }
        if !wanted.ip().is_loopback() && declared.identity.is_some() {
            return Err(ListenError::FixedIdentity { address: text });
        }
        let tls = match &declared.tls {
            Some(tls) => Some(acceptor(tls, directory)?),
            None => None,
        };
        let failed = |source| ListenError::Bind { address: text.clone(), source };
        let socket = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let context = Arc::new(ListenerContext::new(declared, address, tls.is_some()));
        Ok(Self { socket, tls, context, address })
    }

    /// The address as a client writes it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Whether every request has one fixed identity here.
    pub fn is_fixed(&self) -> bool {
        self.context.is_fixed()
    }
}

fn acceptor(tls: &declare::Tls, directory: &Path) -> Result<TlsAcceptor, ListenError> {
    let (certificate, key) = (directory.join(&tls.certificate), directory.join(&tls.key));
    let unusable = |path: &Path| ListenError::Tls { path: path.to_owned() };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_| unusable(&certificate))?;
    let key_der = PrivateKeyDer::from_pem_file(&key).map_err(|_| unusable(&key))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|_| unusable(&certificate))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves listeners until `stop`, then lets open connections finish.
pub async fn serve(
    gate: Arc<Gate>,
    lanes: Arc<Lanes>,
    listeners: Vec<Listener>,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(gate.connections_max()));
    let all = u32::try_from(gate.connections_max()).unwrap_or(u32::MAX);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            Arc::clone(&gate),
            Arc::clone(&lanes),
            listener,
            Arc::clone(&connections),
            stop.clone(),
        ));
    }
    while accepting.join_next().await.is_some() {}
    let finished = tokio::time::timeout(FINISH_WITHIN, connections.acquire_many(all)).await;
    if finished.is_err() {
        tracing::warn!("some connections were still open after {FINISH_WITHIN:?}");
    }
}

async fn accept(
    gate: Arc<Gate>,
    lanes: Arc<Lanes>,
    listener: Listener,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        // A place first, then a connection: what does not fit waits in the kernel's backlog.
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // Taken from this runtime, to be given to the lane's.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be handed on");
                continue;
            }
        };
        let (gate, stop) = (Arc::clone(&gate), stop.clone());
        let (tls, context) = (listener.tls.clone(), Arc::clone(&listener.context));
        lanes.spawn(async move {
            let (_place, _tick) = (place, Tick::keep());
            match TcpStream::from_std(stream) {
                Ok(stream) => connection(gate, context, stream, tls, stop).await,
                Err(error) => tracing::warn!(%error, "a connection could not be taken on"),
            }
        });
    }
}

async fn connection(
    gate: Arc<Gate>,
    context: Arc<ListenerContext>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let Some(tls) = tls else { return exchange(gate, context, stream, stop).await };
    match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => exchange(gate, context, stream, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn exchange<S>(
    gate: Arc<Gate>,
    context: Arc<ListenerContext>,
    stream: S,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_within = gate.request_read_within();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (gate, context) = (Arc::clone(&gate), Arc::clone(&context));
        async move { Ok::<http::Response<Body>, Infallible>(route(&gate, &context, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_within);
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return report(served),
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    report(connection.await);
}

fn report(served: Result<(), hyper::Error>) {
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
