//! A server of a hundred pages, to be brought in.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

/// A server of pages, one of which is held until it is let go.
pub(crate) struct Pages {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Told when the held page is asked for.
    pub(crate) held: mpsc::Receiver<TcpStream>,
}

const HELD: &str = "/p/070.html";

impl Pages {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let (hold, held) = mpsc::channel();
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (counted, hold) = (Arc::clone(&counted), hold.clone());
                std::thread::spawn(move || serve(stream, &counted, &hold));
            }
        });
        Self { address, asked, held }
    }

    /// Has the page be held once more.
    pub(crate) fn hold_again(&self) {
        self.asked.lock().unwrap().remove(HELD);
    }

    pub(crate) fn times(&self, path: &str) -> u32 {
        self.asked.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

fn serve(
    stream: TcpStream,
    asked: &Mutex<BTreeMap<String, u32>>,
    hold: &mpsc::Sender<TcpStream>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let path = line.split_whitespace().nth(1)?.to_owned();
        let mut has_key = false;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok()?;
            has_key |= line.to_ascii_lowercase().starts_with("x-key: sesame");
        }
        let times = {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(path.clone()).or_default();
            *times += 1;
            *times
        };
        if path == HELD && times == 1 {
            // It is answered by nobody: the gate is killed meanwhile.
            hold.send(stream).ok()?;
            return None;
        }
        let (status, body) = match (path.as_str(), has_key) {
            (_, false) => ("401 Unauthorized", String::new()),
            ("/map.txt", _) => ("200 OK", (0..100).map(|n| format!("p/{n:03}.html\n")).collect()),
            (page, _) => ("200 OK", format!("<h1>Page</h1><p>Lantern {page} is lit.</p>")),
        };
        let length = body.len();
        let kind = if path == "/map.txt" { "text/plain" } else { "text/html" };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\netag: \"1\"\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    }
}

/// The declaration of a source that has these pages.
pub(crate) fn lanterns(pages: &Pages) -> String {
    let address = pages.address;
    format!(
        "owner = \"it\"\nclassification = \"internal\"\nrefresh_s = 86400\n\
         [connector.http]\nurls = [\"http://{address}/p/000.html\"]\n\
         site_map = \"http://{address}/map.txt\"\nheaders = {{ x-key = \"env:KEY\" }}\n\
         [permissions]\nreaders = [\"everyone\"]\n"
    )
}
