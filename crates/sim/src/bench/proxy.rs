//! A transparent proxy: copies bytes both ways and looks at nothing. What a gate costs is measured
//! against it.

use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Listens on a free port of loopback, prints it, and copies until killed.
pub async fn serve(target: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::machine::announce(listener.local_addr()?);
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut server = TcpStream::connect(target).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}
