//! Where a connection may go: names are resolved here, at connect, and the very addresses that were
//! looked at are used.
//!
//! A name can resolve to anything, and to something else the next time. So nothing is decided by
//! names: of what comes back only addresses stay that are public or in a network which the bundle
//! names for the upstream. The ranges are known by `lockgate_core::network`; HTTP and calls are
//! not.

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use lockgate_core::network::{Network, may_be_at, reach};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Addresses of one name.
const ADDRESSES_MAX: usize = 64;

/// An address is not one where the upstream may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` is at {address}: {reach}, and not in `allow_networks`")]
pub(crate) struct NotAllowed {
    host: String,
    address: IpAddr,
    reach: &'static str,
}

/// Connects within the rules of one upstream.
pub(crate) fn connector(
    uri: &Uri,
    allowed: &[Network],
) -> Result<HttpConnector<Resolver>, NotAllowed> {
    let host = uri.host().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    // The connector asks no resolver about what is an address already.
    if let Ok(address) = literal
        && !may_be_at(address, true, allowed)
    {
        return Err(refused(host, address));
    }
    let rules = Arc::new(Rules::of(host, allowed));
    let resolver = Resolver { system: GaiResolver::new(), rules };
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    connector.enforce_http(false);
    Ok(connector)
}

/// The addresses of a host, which are those that may be used. `Err`: there are some, and none may.
pub(crate) async fn addresses(
    (host, port): (&str, u16),
    allowed: &[Network],
) -> std::io::Result<Result<Addresses, NotAllowed>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        let found = Addresses { usable: vec![SocketAddr::new(address, port)], is_all: true };
        let may_be = may_be_at(address, true, allowed);
        return Ok(if may_be { Ok(found) } else { Err(refused(host, address)) });
    }
    let found = tokio::net::lookup_host((host, port)).await?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    let count = found.len();
    let usable = Rules::of(host, allowed).among(host, found);
    Ok(usable.map(|usable| Addresses { is_all: usable.len() == count, usable }))
}

/// Addresses of one host.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Those that may be used.
    pub(crate) usable: Vec<SocketAddr>,
    /// Whether there are no others.
    pub(crate) is_all: bool,
}

/// Networks as a bundle lists them. Its loader has refused what is none.
pub(crate) fn networks(listed: &[String]) -> Vec<Network> {
    listed.iter().filter_map(|text| Network::parse(text)).collect()
}

struct Rules {
    is_written: bool,
    allowed: Vec<Network>,
}

/// Resolves names to addresses where the upstream may be.
#[derive(Clone)]
pub(crate) struct Resolver {
    system: GaiResolver,
    rules: Arc<Rules>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Resolving =
    Pin<Box<dyn Future<Output = Result<std::vec::IntoIter<SocketAddr>, Failure>> + Send>>;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Failure;
    type Future = Resolving;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.system.poll_ready(cx).map_err(Failure::from)
    }

    fn call(&mut self, name: Name) -> Resolving {
        let (host, rules) = (name.as_str().to_owned(), Arc::clone(&self.rules));
        let resolving = self.system.call(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = resolving.await?.take(ADDRESSES_MAX).collect();
            Ok(rules.among(&host, found)?.into_iter())
        })
    }
}

impl Rules {
    fn of(host: &str, allowed: &[Network]) -> Self {
        Self { is_written: host.eq_ignore_ascii_case("localhost"), allowed: allowed.to_vec() }
    }

    /// The addresses that may be used. `Err`: there are some, and none may.
    fn among(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NotAllowed> {
        let may_be = |it: &SocketAddr| may_be_at(it.ip(), self.is_written, &self.allowed);
        let first = found.first().map(SocketAddr::ip);
        let usable: Vec<SocketAddr> = found.into_iter().filter(may_be).collect();
        match first {
            Some(address) if usable.is_empty() => Err(refused(host, address)),
            Some(_) | None => Ok(usable),
        }
    }
}

fn refused(host: &str, address: IpAddr) -> NotAllowed {
    NotAllowed { host: host.to_owned(), address, reach: reach(address).as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(is_written: bool, allowed: &[&str], found: &[&str]) -> Result<Vec<String>, IpAddr> {
        let allowed = allowed.iter().map(|it| Network::parse(it).unwrap()).collect();
        let found = found.iter().map(|it| SocketAddr::new(it.parse().unwrap(), 0)).collect();
        let usable = Rules { is_written, allowed }.among("a.example", found);
        let texts = usable.map(|all| all.iter().map(|it| it.ip().to_string()).collect());
        texts.map_err(|error| error.address)
    }

    #[test]
    fn only_addresses_that_may_be_used_are_left_of_an_answer() {
        let usable = |all: &[&str]| Ok(all.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(among(false, &[], &["1.1.1.1", "::1", "10.0.0.1"]), usable(&["1.1.1.1"]));
        assert_eq!(among(false, &[], &["127.0.0.1"]), Err("127.0.0.1".parse().unwrap()));
        assert_eq!(among(false, &["127.0.0.0/8"], &["127.0.0.1"]), usable(&["127.0.0.1"]));
        // `localhost`, where somebody made it something else.
        assert_eq!(among(true, &[], &["169.254.169.254", "::1"]), usable(&["::1"]));
        assert_eq!(among(true, &[], &["::ffff:127.0.0.1"]).map_err(drop), Err(()));
        assert_eq!(among(false, &[], &[]), usable(&[]));
    }

    #[test]
    fn an_address_that_is_written_is_looked_at_too() {
        let at = |uri: &str, allowed: &[&str]| {
            let allowed: Vec<_> = allowed.iter().map(|it| Network::parse(it).unwrap()).collect();
            connector(&uri.parse().unwrap(), &allowed).is_ok()
        };
        assert!(at("http://127.0.0.1:1/", &[]) && at("http://[::1]:1/", &[]));
        assert!(at("https://10.1.2.3/", &[]) && at("https://a.example/", &[]));
        for uri in ["http://169.254.169.254/", "http://0.0.0.0/", "http://[::ffff:7f00:1]/"] {
            assert!(!at(uri, &[]), "{uri}");
        }
        assert!(at("http://169.254.169.254/", &["169.254.0.0/16"]));
    }
}
