//! Waiting for a condition instead of for an amount of time: tests neither sleep nor hang.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is something, and says what was waited for if there is nothing in time.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if started.elapsed() >= limit {
            return Err(format!("{what}: not within {} ms", limit.as_millis()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until somebody listens at the address.
pub fn until_listening(address: SocketAddr, limit: Duration) -> Result<(), String> {
    let what = format!("a listener at {address}");
    until(&what, limit, || is_listening(address).then_some(()))
}

/// Whether somebody listens at the address now.
pub fn is_listening(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, LOOK_EVERY * 10).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_comes_is_returned_and_what_does_not_is_named() {
        let mut looks = 0;
        let third = until("the third look", Duration::from_secs(10), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third, Ok(3));
        let never = until::<()>("a miracle", Duration::ZERO, || None);
        assert_eq!(never, Err("a miracle: not within 0 ms".to_owned()));
    }

    #[test]
    fn a_listener_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(until_listening(address, Duration::from_secs(10)), Ok(()));
    }
}
